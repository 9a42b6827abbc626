"""The page of a body model with what one may change of it: limits, keypoints by name or by a click, and saving."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models import SMIL, check_body_model, is_shipped
from smilfit.rigs.converting import open_model
from smilfit.viewer.model_edits import ModelEdits, beside, free_name, picked_point
from smilfit.viewer.model_page import ModelPage
from smilfit.viewer.model_scene import AXES, ModelScene
from smilfit.viewer.page_messages import plain


class EditedScene(ModelScene):
    """A model that is shown and changed.

    Args:
        edits: the model and its changes.
        title: for the page's head.
        path: the file that it is of, beside which changes are saved.
    """

    def __init__(self, edits: ModelEdits, title: str, path: Path) -> None:
        super().__init__(SMIL(edits.data), title)
        self.edits, self.path = edits, path

    def renewed(self) -> 'EditedScene':
        """Give the scene of the model as it is now."""
        return EditedScene(self.edits, self.title, self.path)


class ModelEditor(ModelPage):
    """Draws a body model and takes changes of it.

    Args:
        server: a `viser.ViserServer`.
        scene: the model and its changes.
        written: is told every file that is written.
    """

    scene: EditedScene

    def __init__(
        self, server: Any, scene: EditedScene, written: Callable[[Path], None] = lambda path: None
    ) -> None:
        self._written = written
        self._clickable: Any = None
        # Two pages may press at once.
        self._changing = threading.RLock()
        super().__init__(server, scene)

    def _add_controls(self) -> None:
        super()._add_controls()
        gui = self.server.gui
        with gui.add_folder('change'):
            self.ranges = [
                gui.add_multi_slider(
                    f'{axis}, least and greatest, degrees', -180.0, 180.0, 1.0, (-180.0, 180.0)
                )
                for axis in AXES
            ]
            self.other_side = gui.add_checkbox('the other side too', True)
            self.name = gui.add_text('keypoint', '', hint='then click on the skin, or take the chosen joint')
            at_joint = gui.add_button('put it on the joint')
            remove = gui.add_button('take it out')
            self.file = gui.add_text('file', free_name(self.scene.path).name, hint='beside the model')
            self.save = gui.add_button(
                'Save', hint='to a new file beside the model; none is ever written over'
            )
            self.said = gui.add_markdown('nothing changed yet')
        self._show_ranges()
        for slider in self.ranges:
            slider.on_update(lambda event: self._ranged())
        at_joint.on_click(lambda event: self._try(lambda: self._keypoint(self.joint.value)))
        remove.on_click(lambda event: self._try(self._remove))
        self.save.on_click(lambda event: self._try(self._save))

    def clicked(self, origin: Any, direction: Any) -> None:
        """Put the named keypoint where a ray meets the skin as it is shown."""
        definition = picked_point(
            np.asarray(self._mesh_vertices), self.scene.faces, np.asarray(origin), np.asarray(direction)
        )
        if definition is not None:
            self._try(lambda: self._keypoint(definition))

    def _draw_mesh(self, vertices: np.ndarray) -> None:
        super()._draw_mesh(vertices)
        self._mesh_vertices = vertices
        if self._mesh is not None and self._mesh is not self._clickable:
            self._clickable = self._mesh
            self._mesh.on_click(lambda event: self.clicked(event.ray_origin, event.ray_direction))

    def _chosen(self) -> None:
        self._show_ranges()
        super()._chosen()

    def _show_ranges(self) -> None:
        self._setting = True
        for slider, row in zip(self.ranges, self.scene.edits.limits(self.joint.value)):
            slider.value = _shown(row)
        self._setting = False

    def _ranged(self) -> None:
        if not self._setting:
            self._try(self._limit)

    def _limit(self) -> str:
        limits = self.scene.edits.limits(self.joint.value).copy()
        # What was not moved stays as the file has it, to the last digit.
        for row, slider in zip(limits, self.ranges):
            if slider.value != _shown(row):
                row[:] = np.radians(slider.value)
        joints = self.scene.edits.set_limits(self.joint.value, limits, self.other_side.value)
        return f'limits of {", ".join(joints)}'

    def _keypoint(self, definition: Any) -> str:
        name = self.name.value.strip()
        self.scene.edits.add_keypoint(name, definition)
        where = definition if isinstance(definition, str) else f'vertices {", ".join(map(str, definition))}'
        return f'{name} on {where}'

    def _remove(self) -> str:
        self.scene.edits.remove_keypoint(self.name.value.strip())
        return f'{self.name.value.strip()} taken out'

    def _save(self) -> str:
        path = self.scene.edits.save(beside(self.scene.path, self.file.value)).resolve()
        self._written(path)
        self.file.value = free_name(path).name
        return f'saved as {path}'

    def _try(self, change: Callable[[], str]) -> None:
        """Make a change, say what it was or why it was not made, and show the model as it is now."""
        with self._changing:
            try:
                said = change()
            except (ValueError, KeyError, OSError) as error:
                self.said.content = f'**not done:** {plain(error)}'
                return
            self.said.content = plain(said)
            self.scene = self.scene.renewed()
            self.show_keypoints.disabled = not self.scene.keypoint_names
            self._limit_angles()
            self.draw()


def _shown(limits: np.ndarray) -> tuple[float, float]:
    """Give limits, rad, as a slider of whole degrees shows them."""
    low, high = np.degrees(limits).clip(-180, 180).round()
    return float(low), float(high)


def open_editor(name_or_path: str | Path) -> EditedScene:
    """Open a model to look at and change; changes of a shipped one are saved in the working directory.

    Raises:
        FileNotFoundError: no such file or shipped model.
        ValueError: a file that breaks a rule: `smilfit model check` says which.
    """
    model, path = open_model(name_or_path)
    data = check_body_model(model.data, str(path))
    beside = Path(path.name) if is_shipped(name_or_path) else path
    return EditedScene(ModelEdits(data), path.name, beside)
