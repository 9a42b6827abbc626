"""The page of a body model with what one may change of it: limits, keypoints by name or by a click, and saving."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from smilfit.apis.viewer.model_page import ModelPage
from smilfit.apis.viewer.model_scene import AXES, ModelScene
from smilfit.apis.viewer.page_messages import plain
from smilfit.body_models import SMIL, BodyModelData, check_body_model, is_shipped, save_body_model
from smilfit.body_models.data import KeypointDefinition
from smilfit.body_models.joint_limits import DEFAULT, FILE, USER
from smilfit.files import shorten
from smilfit.files.names import LONGEST_NAME, folder_name
from smilfit.registry import did_you_mean
from smilfit.rigs.checking.limit_checks import mirrored_limits
from smilfit.rigs.converting import open_model
from smilfit.rigs.defaults import limits_or_default
from smilfit.rigs.symmetry import joint_pairs, mirror_axis

# The keypoint set that added keypoints belong to.
ADDED = 'added'
ENDING = '.smil.json'
# Leaves room for `_edited_2` and the ending in a name.
_LONGEST_STEM = 70


class ModelEdits:
    """A body model and what was changed of it; every change gives a model that keeps the rules.

    Args:
        data: the model as it was opened.
    """

    def __init__(self, data: BodyModelData) -> None:
        self.opened = self.data = data

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return self.data is not self.opened

    def limits(self, joint: str) -> Float[np.ndarray, '3 2']:
        """Return a joint's least and greatest angles, rad; those that fits take where the model states none."""
        return limits_or_default(self.data)[self._joint(joint)]

    def set_limits(
        self, joint: str, limits: Float[np.ndarray, '3 2'], other_side: bool = False
    ) -> tuple[str, ...]:
        """Set a joint's limits; other joints of a model that states none get those that fits take.

        Args:
            limits: least and greatest angles, rad.
            other_side: set the mirrored limits of the joint on the other side too.

        Returns:
            The joints that were changed.

        Raises:
            KeyError: no such joint.
            ValueError: a least angle above the greatest.
        """
        limits = np.asarray(limits, float)
        if (limits[:, 0] > limits[:, 1]).any():
            raise ValueError(
                f'{joint}: limits must have least <= greatest; got {np.degrees(limits).round(1).tolist()} degrees. '
                'Swap them.'
            )
        every = limits_or_default(self.data).copy()
        number = self._joint(joint)
        every[number], changed = limits, [joint]
        pairs = joint_pairs(self.data)
        other = next((b if a == number else a for a, b in pairs if number in (a, b)), None)
        axis = mirror_axis(self.data, pairs)
        if other_side and other is not None and axis is not None:
            image = mirrored_limits(self.data, limits, (number, other), axis)
            if image is None:
                raise ValueError(
                    f'{joint}: limits must be along mirrored axes on both sides to be set together; they are not. '
                    'Set the other side by itself.'
                )
            every[other] = image
            changed.append(self.data.joint_names[other])
        self._take(replace(self.data, joint_limits=every, joint_limits_from=self._origins(changed)))
        return tuple(changed)

    def _origins(self, changed: list[str]) -> tuple[str, ...]:
        """Return whence limits are after a user changed those of some joints."""
        rest = DEFAULT if self.data.joint_limits is None else FILE
        before = self.data.joint_limits_from or (rest,) * self.data.n_joints
        return tuple(USER if n in changed else origin for n, origin in zip(self.data.joint_names, before))

    def add_keypoint(self, name: str, definition: KeypointDefinition) -> None:
        """Add a keypoint, or move one that was added.

        Args:
            name: one that no joint and no other keypoint has.
            definition: a joint's name, or vertices and their weights.

        Raises:
            ValueError: no name, a name that is taken, or a joint or vertex that is not there.
        """
        name = name.strip()
        if not name:
            raise ValueError('a keypoint must have a name; got none. Write one into the field.')
        taken = {n for key, points in self.data.keypoint_sets.items() if key != ADDED for n in points}
        if name in taken or name in self.data.joint_names or name in self.data.landmarks:
            raise ValueError(f'a keypoint must have a name of its own; {name!r} is taken. Choose another.')
        added = {**self.data.keypoint_sets.get(ADDED, {}), name: definition}
        self._take(replace(self.data, keypoint_sets={**self.data.keypoint_sets, ADDED: added}))

    def remove_keypoint(self, name: str) -> None:
        """Take a keypoint out that was added.

        Raises:
            KeyError: none of that name was added.
        """
        added = dict(self.data.keypoint_sets.get(ADDED, {}))
        if name not in added:
            raise KeyError(f'no keypoint {name!r} was added. {did_you_mean(name, added)}')
        del added[name]
        sets = {key: points for key, points in self.data.keypoint_sets.items() if key != ADDED}
        self._take(replace(self.data, keypoint_sets={**sets, ADDED: added} if added else sets))

    def save(self, path: str | Path) -> Path:
        """Write the changed model to a new file.

        Raises:
            FileExistsError: there is such a file, or a link of that name.
            ValueError: another ending than `.smil.json`.
        """
        path = Path(path)
        if os.path.lexists(path):
            raise FileExistsError(f'{path}: the new file must not be there yet; it is. Give another name.')
        return save_body_model(self.data, path)

    def _joint(self, name: str) -> int:
        names = self.data.joint_names
        if name not in names:
            raise KeyError(f'no joint {name!r}. {did_you_mean(name, names)}')
        return names.index(name)

    def _take(self, data: BodyModelData) -> None:
        self.data = check_body_model(data, data.name)


def free_name(path: Path) -> Path:
    """Return a name for a changed model, in the same folder, that no file has yet."""
    stem = folder_name(path.name.removesuffix(ENDING).removesuffix(path.suffix)[:_LONGEST_STEM])
    number, result = 1, path.with_name(f'{stem}_edited{ENDING}')
    while os.path.lexists(result):
        number += 1
        result = path.with_name(f'{stem}_edited_{number}{ENDING}')
    return result


def beside(path: Path, name: str) -> Path:
    """Return the path of a new file beside a model, for a name from a page.

    Args:
        path: the model's file.
        name: of the new file, without folders.

    Raises:
        ValueError: a name with a folder, a drive, a control character, a leading dot or the like, or with another
            ending than `.smil.json`.
        FileExistsError: there is such a file, or a link of that name.
    """
    name = name.strip()
    if folder_name(name) != name:
        raise ValueError(
            f'file: it must be a plain name (letters, figures, spaces and - _ . + , = @ ( ), no folders, no dot in '
            f'front, at most {LONGEST_NAME} characters); got {shorten(name)!r}. It is saved in '
            f'{path.parent.resolve()}.'
        )
    if not name.endswith(ENDING) or name == ENDING:
        raise ValueError(
            f'file: the name must end in {ENDING}; got {name!r}. Write {name.split(".")[0]}{ENDING}.'
        )
    result = path.with_name(name)
    if os.path.lexists(result):
        raise FileExistsError(f'{name}: the new file must not be there yet; it is. Give another name.')
    return result


def picked_point(
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    origin: Float[np.ndarray, '3'],
    direction: Float[np.ndarray, '3'],
) -> dict[int, float] | None:
    """Return the vertices and weights of the first point of a surface that a ray meets; None where it meets none.

    Moeller and Trumbore, Fast, minimum storage ray/triangle intersection, 1997.
    """
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    a, b = second - first, third - first
    p = np.cross(direction, b)
    det = (a * p).sum(1)
    crossed = np.abs(det) > 1e-12 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    inverse = np.divide(1.0, det, out=np.zeros_like(det), where=crossed)
    from_first = origin - first
    q = np.cross(from_first, a)
    u, v = (from_first * p).sum(1) * inverse, (q @ direction) * inverse
    along = (q * b).sum(1) * inverse
    hit = np.flatnonzero(crossed & (u >= 0) & (v >= 0) & (u + v <= 1) & (along > 0))
    if not len(hit):
        return None
    face = hit[along[hit].argmin()]
    shares = (1 - u[face] - v[face], u[face], v[face])
    return {int(vertex): float(share) for vertex, share in zip(faces[face], shares)}


class EditedScene(ModelScene):
    """A model that is shown and changed.

    Args:
        title: for the page's head.
        path: the file that it is of, beside which changes are saved.
    """

    def __init__(self, edits: ModelEdits, title: str, path: Path) -> None:
        super().__init__(SMIL(edits.data), title)
        self.edits, self.path = edits, path

    def open_page(self, server: Any, written: Callable[[Path], None]) -> 'ModelEditor':
        """Draw the model into a server, with what changes it; `written` is told every file that is saved."""
        return ModelEditor(server, self, written)

    def renewed(self) -> 'EditedScene':
        """Return the scene of the model as it is now."""
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
            self.outcome = gui.add_markdown('nothing changed yet')
        self._show_ranges()
        for slider in self.ranges:
            slider.on_update(lambda event: self._ranged())
        at_joint.on_click(lambda event: self._try(lambda: self._keypoint(self.joint.value)))
        remove.on_click(lambda event: self._try(self._remove))
        self.save.on_click(lambda event: self._try(self._save))

    def clicked(self, origin: Sequence[float], direction: Sequence[float]) -> None:
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

    def _keypoint(self, definition: KeypointDefinition) -> str:
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
                message = change()
            except (ValueError, KeyError, OSError) as error:
                self.outcome.content = f'**not done:** {plain(error)}'
                return
            self.outcome.content = plain(message)
            self.scene = self.scene.renewed()
            self.show_keypoints.disabled = not self.scene.keypoint_names
            self._limit_angles()
            self.draw()


def _shown(limits: np.ndarray) -> tuple[float, float]:
    """Return limits, rad, as a slider of whole degrees shows them."""
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
