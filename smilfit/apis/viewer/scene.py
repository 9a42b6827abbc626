"""What a page shows of a recording or fit at each frame. Knows no browser."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from smilfit.apis.viewer.images import FrameImages, Recent
from smilfit.apis.viewer.time_line import NOT_JUDGED
from smilfit.body_models import SMIL
from smilfit.drawing.marks import ANNOTATED, FITTED, Mark, scale_of
from smilfit.evaluation.verdict import Verdict
from smilfit.io import triangulate_keypoints
from smilfit.structures import BodyParams, Cameras, Keypoints2d, Keypoints3d

if TYPE_CHECKING:
    import viser

    from smilfit.apis.viewer.scene_page import ScenePage


@dataclass(frozen=True)
class CentredWindow:
    """A window of an ideal camera that holds its whole image, the principal point at its centre.

    A frustum in a page has an angle and a ratio alone. An image that is drawn through this window lies in it exactly,
    whatever the camera's principal point.

    Attributes:
        affine: ideal px of the camera to px of the window, `u' = A u + b`.
        size: width and height of the window, px.
        focal_px: of the window, both ways.
    """

    affine: Float[np.ndarray, '2 3']
    size: tuple[int, int]
    focal_px: float

    @classmethod
    def of(cls, camera: Cameras, side_px: int) -> 'CentredWindow':
        """Find the window of one camera (without frames of its own), whose longer side is given."""
        K = camera.K.reshape(-1, 3, 3)[0].double().numpy()
        width, height = camera.size.reshape(-1, 2)[0].double().tolist()
        fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
        # Pixel centres are at integers: an image goes from -0.5 to its size less 0.5.
        half_x = max(cx + 0.5, width - 0.5 - cx) / fx
        half_y = max(cy + 0.5, height - 0.5 - cy) / fy
        focal = side_px / (2 * max(half_x, half_y))
        size = (max(2, round(2 * half_x * focal)), max(2, round(2 * half_y * focal)))
        affine = np.array(
            [
                [focal / fx, 0.0, (size[0] - 1) / 2 - focal / fx * cx],
                [0.0, focal / fy, (size[1] - 1) / 2 - focal / fy * cy],
            ]
        )
        return cls(affine, size, float(focal))

    @property
    def fov_rad(self) -> float:
        """Vertical angle of view."""
        return 2 * math.atan(0.5 * self.size[1] / self.focal_px)

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.size[0] / self.size[1]

    def shown(self, xy: Float[np.ndarray, 'K 2']) -> Float[np.ndarray, 'K 2']:
        """Map ideal px to px of the window."""
        return xy @ self.affine[:, :2].T + self.affine[:, 2]


def see(
    image: UInt8[np.ndarray, 'H W 3'],
    to_original: Float[np.ndarray, '2 3'],
    camera: Cameras,
    window: CentredWindow,
) -> UInt8[np.ndarray, 'h w 3']:
    """See an image, or a crop of it, through a window; black where there is none, also beyond a lens's fold.

    Args:
        image: RGB.
        to_original: px of `image` to px of the camera's image.
        camera: the one camera of the original image, with the lens that the image still has.
        window: made of the same camera.
    """
    to_window = window.affine @ np.vstack((to_original, (0.0, 0.0, 1.0)))
    if camera.dist is None:
        # Averaged over areas: a large image made small by points alone flickers.
        return _warp(image, to_window, window.size)
    K = camera.K.reshape(-1, 3, 3)[0].double().numpy()
    bottom = np.array([[0.0, 0.0, 1.0]])
    back = np.linalg.inv(np.vstack((to_original, bottom)))
    new_K = np.vstack((window.affine, bottom)) @ K
    dist = camera.dist.reshape(-1, 5)[0].double().numpy()
    x, y = cv2.initUndistortRectifyMap(back @ K, dist, np.eye(3), new_K, window.size, cv2.CV_32FC1)
    fold = math.inf if camera.fold is None else float(camera.fold.reshape(-1)[0])
    if math.isfinite(fold):
        u = (np.arange(window.size[0]) - new_K[0, 2]) / new_K[0, 0]
        v = (np.arange(window.size[1]) - new_K[1, 2]) / new_K[1, 1]
        x[u[None, :] ** 2 + v[:, None] ** 2 > fold**2] = -1e6
    return cv2.remap(_soft(image, to_window[0, 0]), x, y, cv2.INTER_LINEAR)


def _warp(image: np.ndarray, affine: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(_soft(image, affine[0, 0]), affine, size, flags=cv2.INTER_LINEAR)


def _soft(image: np.ndarray, scale: float) -> np.ndarray:
    """Average over what one shown px covers."""
    width = math.floor(1 / max(abs(scale), 1e-3))
    return cv2.blur(image, (width, width)) if width > 1 else image


# Frames that are computed together, and how many such blocks stay in memory.
BLOCK, KEPT_BLOCKS = 8, 4


class PosedBodies:
    """The body of every frame, a few frames in memory at a time: a recording's meshes would fill it.

    Args:
        params: a fit's, one row a frame; a frame that is not finite has no body.
        names: keypoints to compute.
    """

    def __init__(self, body: SMIL, params: BodyParams, names: Sequence[str]) -> None:
        self.body, self.params, self.names = body, params, tuple(names)
        self.faces = body.faces.cpu().numpy()
        self.fitted = params.transl.isfinite().all(1).cpu().numpy()
        self._blocks: OrderedDict[int, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def __len__(self) -> int:
        return self.params.batch_size

    def at(self, row: int) -> tuple[Float[np.ndarray, 'V 3'], Float[np.ndarray, 'K 3']] | None:
        """Return vertices and keypoints of a frame, world unit; None of one that was not fitted."""
        if not self.fitted[row]:
            return None
        block = row // BLOCK
        if block not in self._blocks:
            self._blocks[block] = self._computed(block)
        self._blocks.move_to_end(block)
        while len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        vertices, points = self._blocks[block]
        return vertices[row - block * BLOCK], points[row - block * BLOCK]

    def _computed(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        rows = torch.arange(block * BLOCK, min((block + 1) * BLOCK, len(self)))
        with torch.no_grad():
            output = self.body(self.params[rows].to(self.body.v_template), ('vertices', *self.names))
        points = output.select(self.names) if self.names else output.vertices[:, :0]
        return output.vertices.float().cpu().numpy(), points.float().cpu().numpy()


# What points are called, and their colours: those of the overlays, and one more.
FITTED_POINTS, TRIANGULATED, GIVEN = "body's keypoints", 'triangulated labels', 'given 3D points'
POINT_COLOURS = {FITTED_POINTS: FITTED.colour, TRIANGULATED: ANNOTATED.colour, GIVEN: (204, 121, 167)}
IMAGE_SIDE = 480


class ShownImage(NamedTuple):
    """One camera at one frame: its image through its window, both ready to draw."""

    image: UInt8[np.ndarray, 'h w 3'] | None
    window: CentredWindow


@dataclass(frozen=True)
class Shown:
    """What is known of one frame, in the world; what is not known is missing.

    `points` holds the finite points of each kind, with `names` beside them.
    """

    row: int
    label: str
    word: str
    reason: str
    vertices: Float[np.ndarray, 'V 3'] | None
    points: dict[str, Float[np.ndarray, 'n 3']]
    names: dict[str, tuple[str, ...]]


@dataclass
class Scene:
    """A recording, with the fit to it where there is one.

    Attributes:
        title: for the page's head.
        labels: a name a frame.
        fps: of the recording.
        unit: of the world.
        cameras: of all frames, or with a leading dimension one set a frame; None where none are known.
        observed: labels, in px of images that these cameras with their lenses made.
        given: 3D points that came with the recording.
        bodies: of a fit.
        images: where images come from.
        verdict: on the fit.
        notes: sentences for the page.
    """

    title: str
    labels: Sequence[str]
    fps: float | None = None
    unit: str | None = None
    cameras: Cameras | None = None
    observed: Keypoints2d | None = None
    given: Keypoints3d | None = None
    bodies: PosedBodies | None = None
    images: FrameImages | None = None
    verdict: Verdict | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep the last few frames' images."""
        self._recent = Recent(self._drawn)

    def __len__(self) -> int:
        return len(self.labels)

    def open_page(self, server: 'viser.ViserServer', written: Callable[[Path], None]) -> 'ScenePage':
        """Draw the scene into a server; it writes no files."""
        from smilfit.apis.viewer.scene_page import ScenePage

        return ScenePage(server, self)

    @property
    def words(self) -> tuple[str, ...]:
        """What every frame was judged to be."""
        judged = () if self.verdict is None else self.verdict.frame_words
        return tuple(judged) if len(judged) == len(self) else (NOT_JUDGED,) * len(self)

    def at(self, row: int) -> Shown:
        """Return what is shown at a frame.

        Raises:
            IndexError: no such frame.
        """
        if not 0 <= row < len(self):
            raise IndexError(f'{self.title}: frames go from 0 to {len(self) - 1}; got {row}.')
        result: dict[str, tuple[np.ndarray, Sequence[str]]] = {}
        bodies = self.bodies
        posed = None if bodies is None else bodies.at(row)
        if bodies is not None and posed is not None:
            result[FITTED_POINTS] = (posed[1], bodies.names)
        placed = self._triangulated(row)
        for kind, points in (
            (TRIANGULATED, placed),
            (GIVEN, None if self.given is None else self.given[row]),
        ):
            if points is not None:
                known = points.confidence[0] > 0
                result[kind] = (torch.where(known[:, None], points.xyz[0], torch.nan).numpy(), points.names)
        rows = {kind: np.isfinite(xyz).all(1) for kind, (xyz, _) in result.items()}
        words = self.words
        reasons = () if self.verdict is None else self.verdict.frame_reasons
        return Shown(
            row=row,
            label=self.labels[row],
            word=words[row],
            reason=reasons[row] if len(reasons) == len(self) else '',
            vertices=None if posed is None else posed[0],
            points={kind: xyz[rows[kind]].astype(np.float32) for kind, (xyz, _) in result.items()},
            names={
                kind: tuple(n for n, known in zip(names, rows[kind]) if known)
                for kind, (_, names) in result.items()
            },
        )

    def cameras_at(self, row: int) -> Cameras | None:
        """Return the cameras of a frame."""
        if self.cameras is None or self.cameras.K.ndim == 3:
            return self.cameras
        return self.cameras.map(lambda x: x[row])

    def images_at(self, row: int) -> dict[str, ShownImage]:
        """Draw what every camera saw, with the labels and the body's keypoints over it."""
        return self._recent.at(row)

    def _triangulated(self, row: int) -> Keypoints3d | None:
        if self.observed is None or self.cameras is None or len(self.cameras) < 2:
            return None
        # As `seen` is: its cameras are the recorded ones, whatever a fit made of them.
        return triangulate_keypoints(self.observed[row])

    def _drawn(self, row: int) -> dict[str, ShownImage]:
        rig = self.cameras_at(row)
        if rig is None:
            return {}
        images = {} if self.images is None else self.images.at(row)
        posed = None if self.bodies is None else self.bodies.at(row)
        result = {}
        for c, name in enumerate(rig.names):
            camera = rig.select([name])
            window = CentredWindow.of(camera, IMAGE_SIDE)
            image = None
            if name in images:
                observed = images[name]
                lens = camera.ideal() if observed.ideal else camera
                image = see(observed.image, observed.to_original, lens, window)
                if posed is not None:
                    pixels, _, valid = camera.ideal().project(torch.from_numpy(posed[1]).to(camera.K))
                    stamp(image, window, torch.where(valid[..., None], pixels, torch.nan)[0], FITTED)
                if self.observed is not None:
                    stamp(image, window, _labels(self.observed[row], c, camera), ANNOTATED)
            result[name] = ShownImage(image, window)
        return result


def _labels(observed: Keypoints2d, c: int, camera: Cameras) -> torch.Tensor:
    """Return one frame's labels of a view in ideal px."""
    pixels, inside = camera.undistort(observed.xy[0, c : c + 1].to(camera.K))
    valid = inside & (observed.confidence[0, c : c + 1] > 0)
    return torch.where(valid[..., None], pixels, torch.nan)[0]


def stamp(image: np.ndarray, window: CentredWindow, ideal: torch.Tensor, mark: Mark) -> None:
    """Draw a mark into `image` at each point that is finite and lies in it."""
    shown = window.shown(ideal.double().numpy())
    inside = (np.abs(shown) < 2 * max(image.shape[:2])).all(-1)
    for at in shown[inside]:
        mark.stamp(image, at, scale_of(image))


def with_cameras(scene: Scene, cameras: Cameras | None) -> Scene:
    """Return a scene with the cameras as a fit corrected them; lenses stay."""
    if cameras is None or scene.cameras is None:
        return scene
    lens = scene.cameras
    corrected = replace(cameras.to(lens.K), dist=lens.dist, fold=lens.fold)
    return replace(scene, cameras=corrected)
