"""The page of a body model: sliders for shape and for the angles of a joint; joints, keypoints, weights."""

import threading
from typing import Any

import numpy as np

from smilfit.apis.viewer.model_scene import AXES, ModelScene
from smilfit.apis.viewer.page_messages import plain
from smilfit.drawing.marks import ANNOTATED, BODY, FITTED

# Shape spaces may be long; the first coefficients say most.
MOST_BETAS = 12
_DOT = 0.008


class ModelPage:
    """Draws a body model into a viser server and answers its controls.

    Args:
        server: a `viser.ViserServer`, whose types have controls read only.
    """

    def __init__(self, server: Any, scene: ModelScene) -> None:
        self.server, self.scene = server, scene
        self._angles: dict[str, tuple[float, ...]] = {}
        self._lock = threading.Lock()
        self._mesh: Any = None
        self._mesh_is_coloured = False
        self._setting = False
        self._set_up_view()
        self._add_controls()
        self.draw()

    def close(self) -> None:
        """Nothing runs by itself."""

    def draw(self) -> None:
        """Show the model as the sliders say."""
        with self._lock, self.server.atomic():
            shown = self.scene.pose([s.value for s in self.betas], self._angles)
            self._draw_mesh(shown.vertices)
            self._joints.points, self._joints.visible = shown.joints, self.show_joints.value
            bones = np.array([[shown.joints[a], shown.joints[b]] for a, b in self.scene.bones], np.float32)
            if len(bones):
                self._bones.points, self._bones.visible = bones, self.show_joints.value
            self._keypoints.points = shown.keypoints
            self._keypoints.visible = self.show_keypoints.value and bool(len(shown.keypoints))
            chosen = shown.joints[self.scene.joint_names.index(self.joint.value)]
            self._marker.position = tuple(chosen.tolist())
            self._marker.text, self._marker.visible = self.joint.value, self.show_joints.value

    def _set_up_view(self) -> None:
        data, size = self.scene.body.data, self.scene.rest_size
        up = _axis(data.up_axis or '+z')
        forward = _axis(data.forward_axis) if data.forward_axis else None
        side = (
            np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
            if forward is None
            else np.cross(up, forward) + forward
        )
        side = side / np.linalg.norm(side)
        centre = 0.5 * (data.v_template.min(0) + data.v_template.max(0))
        self.server.scene.set_up_direction(tuple(up))
        start = self.server.initial_camera
        start.position, start.look_at, start.up = centre + size * (1.3 * side + 0.5 * up), centre, up
        start.near, start.far = 0.005 * size, 500.0 * size

    def _add_controls(self) -> None:
        scene, gui = self.scene, self.server.gui
        with gui.add_folder('shape'):
            ranges = scene.shape_range()
            self.betas = [
                gui.add_slider(f'beta {i}', low, high, (high - low) / 200, mean)
                for i, (low, high, mean) in enumerate(ranges[:MOST_BETAS])
            ]
            if not len(ranges):
                gui.add_markdown('*The model has no shape space.*')
            if len(ranges) > MOST_BETAS:
                gui.add_markdown(f'*The first {MOST_BETAS} of {len(ranges)} betas; the others are the mean.*')
        with gui.add_folder('pose'):
            self.joint = gui.add_dropdown('joint', scene.joint_names, initial_value=scene.joint_names[0])
            self.angles = [gui.add_slider(f'{axis}, degrees', -180.0, 180.0, 1.0, 0.0) for axis in AXES]
            reset = gui.add_button('rest')
        with gui.add_folder('show'):
            self.show_joints = gui.add_checkbox('joints and bones', True)
            self.show_keypoints = gui.add_checkbox('keypoints', True, disabled=not scene.keypoint_names)
            self.show_weights = gui.add_checkbox("the joint's weights as colours", False)
            self.opacity = gui.add_slider('opacity', 0.1, 1.0, 0.05, 0.6)
        data = scene.body.data
        gui.add_markdown(
            f'{data.n_vertices} vertices, {data.n_joints} joints, {data.n_betas} betas, '
            f'{len(scene.keypoint_names)} keypoints; unit {plain(data.unit or "not stated")}'
        )
        self._limit_angles()
        dot = {'point_size': _DOT * scene.rest_size * 1.5, 'point_shape': 'circle', 'precision': 'float32'}
        empty = np.zeros((0, 3), np.float32)
        self._joints = self.server.scene.add_point_cloud('/joints', empty, FITTED.colour, **dot)
        self._keypoints = self.server.scene.add_point_cloud('/keypoints', empty, ANNOTATED.colour, **dot)
        if scene.bones:
            lines = np.zeros((len(scene.bones), 2, 3), np.float32)
            self._bones = self.server.scene.add_line_segments('/bones', lines, FITTED.colour)
        self._marker = self.server.scene.add_label('/joint', self.joint.value)
        for slider in (*self.betas, self.opacity, self.show_joints, self.show_keypoints, self.show_weights):
            slider.on_update(lambda event: self.draw())
        for slider in self.angles:
            slider.on_update(lambda event: self._rotated())
        self.joint.on_update(lambda event: self._chosen())
        reset.on_click(lambda event: self._reset())

    def _limit_angles(self) -> None:
        """Return the three sliders the limits of the chosen joint, and its angles."""
        self._setting = True
        now = np.degrees(self._angles.get(self.joint.value, (0.0, 0.0, 0.0)))
        for slider, (low, high), value in zip(self.angles, self.scene.angle_range(self.joint.value), now):
            least, greatest = np.round(np.degrees((low, high)), 1)
            # A joint that does not turn about an axis has no range.
            slider.min, slider.max = float(least), float(max(greatest, least + 1e-3))
            slider.value = float(value)
            slider.disabled = bool(greatest - least < 1e-3)
        self._setting = False

    def _rotated(self) -> None:
        if self._setting:
            return
        self._angles[self.joint.value] = tuple(float(np.radians(s.value)) for s in self.angles)
        self.draw()

    def _chosen(self) -> None:
        self._limit_angles()
        self.draw()

    def _reset(self) -> None:
        self._angles = {}
        for slider, (_, _, mean) in zip(self.betas, self.scene.shape_range()):
            slider.value = mean
        self._limit_angles()
        self.draw()

    def _draw_mesh(self, vertices: np.ndarray) -> None:
        """Draw the mesh; weights are colours of vertices, which viser takes of whole meshes alone."""
        if not len(self.scene.faces):
            return
        coloured = self.show_weights.value
        if coloured:
            import trimesh

            colours = self.scene.weight_colours(self.joint.value)
            mesh = trimesh.Trimesh(vertices, self.scene.faces, vertex_colors=colours, process=False)
            self._mesh = self.server.scene.add_mesh_trimesh('/body', mesh, cast_shadow=False)
        elif self._mesh is None or self._mesh_is_coloured:
            self._mesh = self.server.scene.add_mesh_simple(
                '/body', vertices, self.scene.faces, color=BODY.colour, side='double', cast_shadow=False
            )
        if not coloured:
            self._mesh.vertices = vertices
            self._mesh.opacity = None if self.opacity.value >= 1.0 else self.opacity.value
        self._mesh_is_coloured = coloured


def _axis(name: str) -> np.ndarray:
    sign = -1.0 if name.startswith('-') else 1.0
    return sign * np.eye(3)['xyz'.index(name[-1])]
