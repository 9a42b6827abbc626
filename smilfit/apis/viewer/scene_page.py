"""The page of a recording or fit: time slider, verdicts, cameras with images, mesh, points."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from smilfit.apis.viewer.page_messages import plain
from smilfit.apis.viewer.scene import FITTED_POINTS, GIVEN, POINT_COLOURS, TRIANGULATED, Scene, ShownImage
from smilfit.apis.viewer.time_line import COLOURS, NOT_JUDGED, time_line, with_cursor
from smilfit.drawing.marks import BODY
from smilfit.drawing.overlays import grid_of_views
from smilfit.geometry.rotation import rotmat_to_quat_wxyz
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.structures import Cameras

if TYPE_CHECKING:
    import viser


class Player:
    """Calls `draw` with frame numbers, one at a time, and only with the newest that was asked for.

    Args:
        draw: draws a frame.
        count: how many frames there are.
        fps: of playing.
    """

    def __init__(self, draw: Callable[[int], None], count: int, fps: float) -> None:
        self._draw, self._count, self.fps = draw, count, fps
        self._wanted: int | None = None
        self._row, self._playing, self._closed = 0, False, False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True, name='smilfit-view')
        self._thread.start()

    @property
    def row(self) -> int:
        """The frame that was drawn last."""
        return self._row

    @property
    def playing(self) -> bool:
        """Whether frames follow by themselves."""
        return self._playing

    def show(self, row: int) -> None:
        """Ask for a frame."""
        with self._changed:
            self._wanted = row
            self._changed.notify()

    def play(self, playing: bool) -> None:
        """Begin or stop playing, from the frame that is shown."""
        with self._changed:
            self._playing = playing
            self._changed.notify()

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._changed:
                while not self._closed and self._wanted is None:
                    wait = due - time.monotonic() if self._playing else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                if self._closed:
                    return
                row = (self._row + 1) % self._count if self._wanted is None else self._wanted
                self._wanted = None
            # The clock goes from the beginning of a drawing: a slow one costs frames per second, not frames.
            due = time.monotonic() + 1.0 / max(self.fps, 0.1)
            self._draw(row)
            self._row = row


FREE = 'free'
# Sizes: of points as a share of the animal's, of frusta as one of the cameras' distance from it.
_POINT, _FRUSTUM = 0.012, 0.16
_POINT_ALONE, _ON_WHITE = 0.03, (0, 114, 178)
# Where a page begins: so many sizes of the animal away, or as a share of the cameras' distance.
_AWAY, _AWAY_OF_CAMERAS = 2.2, 1.3


class ScenePage:
    """Draws a scene into a viser server and answers its controls.

    Args:
        server: a `viser.ViserServer`, whose types have controls read only.
        scene: what to show.
    """

    def __init__(self, server: Any, scene: Scene) -> None:
        self.server, self.scene = server, scene
        self._first = next((r for r in range(len(scene)) if scene.at(r).points), 0)
        self.centre, self.size = _extent(scene, self._first)
        self.camera_distance = _camera_distance(scene, self._first, self.centre)
        self.colours = _colours(scene)
        self._point_size = (_POINT if scene.bodies is not None else _POINT_ALONE) * self.size
        self._strip = time_line(scene.words)
        self._mesh: viser.MeshHandle | None = None
        self._clouds: dict[str, viser.PointCloudHandle] = {}
        self._frusta: dict[str, viser.CameraFrustumHandle] = {}
        self._labels: list[viser.LabelHandle] = []
        self._drawn = -1
        self._set_up_view()
        self._add_controls()
        self.draw(self._first)
        fps = min(scene.fps or USUAL_FPS, USUAL_FPS)
        self.player = Player(self._played, len(scene), fps)

    def close(self) -> None:
        """Stop playing."""
        self.player.close()

    @property
    def row(self) -> int:
        """The frame that is shown."""
        return self._drawn

    def draw(self, row: int) -> None:
        """Show a frame."""
        shown, images = self.scene.at(row), self.scene.images_at(row)
        with self.server.atomic():
            self._draw_mesh(shown.vertices)
            for kind, points in shown.points.items():
                self._draw_points(kind, points)
            for kind in set(self._clouds) - set(shown.points):
                self._clouds[kind].visible = False
            self._draw_names(shown.points, shown.names)
            self._draw_cameras(row, images)
            self._draw_sheet(images)
            self._strip_image.image = with_cursor(self._strip, row, len(self.scene))
            self._text.content = self._sentence(row)
        self._drawn = row

    def _sentence(self, row: int) -> str:
        shown = self.scene.at(row)
        colour = ''.join(f'{c:02x}' for c in COLOURS[shown.word])
        text = f'**{plain(shown.label)}** <span style="color:#{colour}">&#9632;</span> {shown.word}'
        return f'{text}: {plain(shown.reason)}' if shown.reason else text

    def _played(self, row: int) -> None:
        try:
            self.draw(row)
        except (OSError, RuntimeError, ValueError, LookupError) as error:
            # A frame that does not decode ends neither the page nor the others.
            self._drawn = row
            self._text.content = f'**{plain(self.scene.labels[row])}** not shown: {plain(error)}'
        if self.slider.value != row:
            self.slider.value = row

    def _set_up_view(self) -> None:
        up = _up(self.scene)
        self.server.scene.set_up_direction(tuple(up))
        start = self.server.initial_camera
        away = max(_AWAY * self.size, _AWAY_OF_CAMERAS * self.camera_distance)
        start.position, start.look_at, start.up = self.centre + away * self._aside(up), self.centre, up
        start.near, start.far = 0.005 * self.size, 500.0 * self.size

    def _aside(self, up: np.ndarray) -> np.ndarray:
        """Return a direction a little from above, across from the cameras, so that their images are seen."""
        rig = self.scene.cameras_at(self._first)
        viewpoint = np.zeros(3) if rig is None else rig.centres().double().numpy().mean(0) - self.centre
        level = viewpoint - up * (viewpoint @ up)
        if np.linalg.norm(level) < 0.1 * max(self.camera_distance, self.size):
            level = np.cross(up, np.eye(3)[np.argmin(np.abs(up))])
        result = 0.4 * up - level / np.linalg.norm(level)
        return result / np.linalg.norm(result)

    def _add_controls(self) -> None:
        scene, gui = self.scene, self.server.gui
        count = len(scene)
        last = max(count - 1, 1)
        self.slider = gui.add_slider('frame', 0, last, 1, self._first, disabled=count < 2)
        self._strip_image = gui.add_image(with_cursor(self._strip, self._first, count), format='png')
        self._text = gui.add_markdown('')
        self.play_button = gui.add_checkbox('play', False, disabled=count < 2)
        self.fps_slider = gui.add_slider('fps', 1, 60, 1, round(min(scene.fps or USUAL_FPS, USUAL_FPS)))
        gui.add_markdown(_legend(scene, self.colours))
        with gui.add_folder('images'):
            self.show_images = gui.add_checkbox('here too', True, disabled=scene.images is None)
            self._sheet = gui.add_image(np.zeros((8, 8, 3), np.uint8), format='jpeg', visible=False)
        with gui.add_folder('show'):
            self.show_mesh = gui.add_checkbox('mesh', True, visible=scene.bodies is not None)
            self.opacity = gui.add_slider('opacity', 0.1, 1.0, 0.05, 1.0, visible=scene.bodies is not None)
            self.show_points = {kind: gui.add_checkbox(kind, True) for kind in self.colours}
            self.show_names = gui.add_checkbox('names', False)
            self.show_cameras = gui.add_checkbox('cameras', True, disabled=scene.cameras is None)
        if scene.cameras is not None:
            names = [FREE, *scene.cameras.names]
            self.look_from = gui.add_dropdown('look from', names, initial_value=FREE)
            self.look_from.on_update(lambda event: self._look_from(event.client, event.target.value))
        for note in scene.notes:
            gui.add_markdown(f'*{plain(note)}*')
        self.slider.on_update(lambda event: self._asked(event.target.value))
        self.play_button.on_update(lambda event: self.player.play(event.target.value))
        self.fps_slider.on_update(lambda event: setattr(self.player, 'fps', float(event.target.value)))
        boxes = (
            self.show_mesh,
            self.opacity,
            self.show_names,
            self.show_cameras,
            self.show_images,
            *self.show_points.values(),
        )
        for box in boxes:
            box.on_update(lambda event: self.player.show(self.row))

    def _asked(self, row: int) -> None:
        # The slider follows a recording that plays; that is no wish of anybody's.
        if row != self.row:
            self.player.show(min(max(int(row), 0), len(self.scene) - 1))

    def _draw_mesh(self, vertices: np.ndarray | None) -> None:
        if self.scene.bodies is None or not len(self.scene.bodies.faces):
            return
        if vertices is None:
            if self._mesh is not None:
                self._mesh.visible = False
            return
        opacity = None if self.opacity.value >= 1.0 else self.opacity.value
        if self._mesh is None:
            self._mesh = self.server.scene.add_mesh_simple(
                '/body', vertices, self.scene.bodies.faces, color=BODY.colour, side='double', cast_shadow=False,
                receive_shadow=False,
            )  # fmt: skip
        self._mesh.vertices = vertices
        self._mesh.opacity = opacity
        self._mesh.visible = self.show_mesh.value

    def _draw_points(self, kind: str, points: np.ndarray) -> None:
        if kind not in self._clouds:
            self._clouds[kind] = self.server.scene.add_point_cloud(
                f'/points/{kind}', points, self.colours[kind], point_size=self._point_size,
                point_shape='circle', precision='float32', point_shading='flat',
            )  # fmt: skip
        cloud = self._clouds[kind]
        cloud.points = points
        cloud.colors = np.array(self.colours[kind], np.uint8)
        box = self.show_points.get(kind)
        cloud.visible = bool(len(points)) and (box is None or box.value)

    def _draw_names(self, points: dict[str, np.ndarray], names: dict[str, tuple[str, ...]]) -> None:
        """Write names at the first kind of points that there is."""
        for label in self._labels:
            label.remove()
        self._labels = []
        if not self.show_names.value:
            return
        kind = next((kind for kind in self.colours if len(points.get(kind, ()))), None)
        if kind is not None:
            self._labels = [
                self.server.scene.add_label(f'/names/{name}', name, position=tuple(at.tolist()))
                for name, at in zip(names[kind], points[kind])
            ]

    def _draw_cameras(self, row: int, images: dict[str, ShownImage]) -> None:
        rig = self.scene.cameras_at(row)
        if rig is None:
            return
        for c, (name, shown) in enumerate(images.items()):
            wxyz, position = _placed(rig, c)
            if name not in self._frusta:
                self._frusta[name] = self.server.scene.add_camera_frustum(
                    f'/cameras/{name}', shown.window.fov_rad, shown.window.aspect,
                    scale=_FRUSTUM * self.camera_distance, image=shown.image, format='jpeg',
                    wxyz=wxyz, position=position, color=(60, 60, 60), cast_shadow=False, receive_shadow=False,
                )  # fmt: skip
            frustum = self._frusta[name]
            if shown.image is not None:
                frustum.image = shown.image
            frustum.fov, frustum.aspect = shown.window.fov_rad, shown.window.aspect
            frustum.wxyz, frustum.position = wxyz, position
            frustum.scale = self._frustum_scale(name, shown, position)
            frustum.visible = self.show_cameras.value

    def _frustum_scale(self, name: str, shown: ShownImage, position: np.ndarray) -> float:
        """Choose a frustum's size; that of the camera that is looked from has its image behind the animal."""
        if name != self.look_from.value:
            return _FRUSTUM * self.camera_distance
        behind = 1.2 * (float(np.linalg.norm(self.centre - position)) + self.size)
        # viser scales a frustum to a volume: this is how deep one of scale 1 is.
        half = np.tan(0.5 * shown.window.fov_rad)
        return float(behind * np.cbrt(half * half * shown.window.aspect / 3.0))

    def _draw_sheet(self, images: dict[str, ShownImage]) -> None:
        """Put all images beside each other into the panel."""
        tiles = [shown.image for shown in images.values() if shown.image is not None]
        self._sheet.visible = bool(tiles) and self.show_images.value
        if self._sheet.visible:
            self._sheet.image = grid_of_views(tiles)

    def _look_from(self, client: 'viser.ClientHandle | None', name: str) -> None:
        """Put a page's own camera where one of the recording's is."""
        self.player.show(self.row)
        rig = self.scene.cameras_at(max(self.row, 0))
        if client is None or rig is None or name == FREE:
            return
        c = rig.names.index(name)
        wxyz, position = _placed(rig, c)
        window = self.scene.images_at(self.row)[name].window
        distance = float(np.linalg.norm(self.centre - position))
        forward = rig.R[c, 2].double().numpy()
        with client.atomic():
            client.camera.wxyz, client.camera.position = wxyz, position
            client.camera.look_at = position + distance * forward
            client.camera.fov = window.fov_rad


def _placed(rig: Cameras, c: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a camera's rotation (camera to world, wxyz) and place."""
    quaternion = rotmat_to_quat_wxyz(rig.R[c].double().T)
    return quaternion.numpy(), rig.centres()[c].double().numpy()


def _extent(scene: Scene, row: int) -> tuple[np.ndarray, float]:
    """Find what a page looks at: the animal, else the middle of the cameras; and its size, world unit."""
    shown = scene.at(row)
    parts = [p for p in (shown.vertices, *shown.points.values()) if p is not None and len(p)]
    if parts:
        points = np.concatenate(parts).astype(float)
        low, high = np.percentile(points, 2, axis=0), np.percentile(points, 98, axis=0)
        return 0.5 * (low + high), float(max((high - low).max(), 1e-6))
    rig = scene.cameras_at(row)
    if rig is None:
        return np.zeros(3), 1.0
    centres = rig.centres().double().numpy()
    return centres.mean(0), float(max(np.ptp(centres, axis=0).max(), 1.0))


def _camera_distance(scene: Scene, row: int, centre: np.ndarray) -> float:
    """Measure how far cameras are from the animal, in the middle of them; 0 without cameras."""
    rig = scene.cameras_at(row)
    if rig is None:
        return 0.0
    centres = rig.centres().double().numpy()
    return float(np.median(np.linalg.norm(centres - centre, axis=1)))


def _up(scene: Scene) -> np.ndarray:
    """Find which way is up: against what most cameras have as down in their images."""
    rig = scene.cameras_at(0)
    if rig is None:
        return np.array([0.0, 0.0, 1.0])
    down = rig.R[:, 1].double()
    # Cameras that look down along the vertical tell little of it; upright ones agree.
    mean = torch.nn.functional.normalize(down.mean(0), dim=0).numpy()
    return -mean if np.isfinite(mean).all() and np.linalg.norm(mean) > 0.5 else np.array([0.0, 0.0, 1.0])


def _colours(scene: Scene) -> dict[str, tuple[int, int, int]]:
    """Return the colours of the kinds of points that there are, in any frame."""
    kinds = {
        FITTED_POINTS: scene.bodies is not None,
        TRIANGULATED: scene.observed is not None and scene.cameras is not None and len(scene.cameras) > 1,
        GIVEN: scene.given is not None,
    }
    result = {kind: colour for kind, colour in POINT_COLOURS.items() if kinds[kind]}
    # Without a body there is nothing behind these points: on white, yellow is hardly seen.
    return (
        result
        if scene.bodies is not None or TRIANGULATED not in result
        else result | {TRIANGULATED: _ON_WHITE}
    )


def _legend(scene: Scene, marks: dict[str, tuple[int, int, int]]) -> str:
    """Return what colours mean."""
    words = [word for word in COLOURS if word in set(scene.words) and word != NOT_JUDGED]
    parts = [*marks.items()] + [(word, COLOURS[word]) for word in words]
    square = '<span style="color:#{}">&#9632;</span> {}'
    return ' '.join(square.format(''.join(f'{c:02x}' for c in colour), what) for what, colour in parts)
