"""What a page shows of a recording or fit at each frame. Knows no browser."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8

from smilfit.evaluation.verdict import Verdict
from smilfit.io import triangulate_keypoints
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d
from smilfit.viewer.centred_window import CentredWindow, see
from smilfit.viewer.images import FrameImages, Recent
from smilfit.viewer.posed_bodies import PosedBodies
from smilfit.viewer.time_line import NOT_JUDGED
from smilfit.visualization.marks import ANNOTATED, FITTED, Mark, scale_of

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
        seen: labels, in px of images that these cameras with their lenses made.
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
    seen: Keypoints2d | None = None
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

    @property
    def words(self) -> tuple[str, ...]:
        """What every frame was judged to be."""
        judged = () if self.verdict is None else self.verdict.frame_words
        return tuple(judged) if len(judged) == len(self) else (NOT_JUDGED,) * len(self)

    def at(self, row: int) -> Shown:
        """Say what is shown at a frame.

        Raises:
            IndexError: no such frame.
        """
        if not 0 <= row < len(self):
            raise IndexError(f'{self.title}: frames go from 0 to {len(self) - 1}; got {row}.')
        found: dict[str, tuple[np.ndarray, Sequence[str]]] = {}
        posed = None if self.bodies is None else self.bodies.at(row)
        if posed is not None:
            found[FITTED_POINTS] = (posed[1], self.bodies.names)
        placed = self._triangulated(row)
        for kind, points in (
            (TRIANGULATED, placed),
            (GIVEN, None if self.given is None else self.given[row]),
        ):
            if points is not None:
                known = points.confidence[0] > 0
                found[kind] = (torch.where(known[:, None], points.xyz[0], torch.nan).numpy(), points.names)
        rows = {kind: np.isfinite(xyz).all(1) for kind, (xyz, _) in found.items()}
        words = self.words
        reasons = () if self.verdict is None else self.verdict.frame_reasons
        return Shown(
            row=row,
            label=self.labels[row],
            word=words[row],
            reason=reasons[row] if len(reasons) == len(self) else '',
            vertices=None if posed is None else posed[0],
            points={kind: xyz[rows[kind]].astype(np.float32) for kind, (xyz, _) in found.items()},
            names={
                kind: tuple(n for n, known in zip(names, rows[kind]) if known)
                for kind, (_, names) in found.items()
            },
        )

    def cameras_at(self, row: int) -> Cameras | None:
        """Give the cameras of a frame."""
        if self.cameras is None or self.cameras.K.ndim == 3:
            return self.cameras
        return self.cameras.map(lambda x: x[row])

    def images_at(self, row: int) -> dict[str, ShownImage]:
        """Draw what every camera saw, with the labels and the body's keypoints over it."""
        return self._recent.at(row)

    def _triangulated(self, row: int) -> Keypoints3d | None:
        if self.seen is None or self.cameras is None or len(self.cameras) < 2:
            return None
        # As `seen` is: its cameras are the recorded ones, whatever a fit made of them.
        return triangulate_keypoints(self.seen[row])

    def _drawn(self, row: int) -> dict[str, ShownImage]:
        rig = self.cameras_at(row)
        if rig is None:
            return {}
        images = {} if self.images is None else self.images.at(row)
        posed = None if self.bodies is None else self.bodies.at(row)
        found = {}
        for c, name in enumerate(rig.names):
            camera = rig.select([name])
            window = CentredWindow.of(camera, IMAGE_SIDE)
            image = None
            if name in images:
                seen = images[name]
                lens = camera.ideal() if seen.ideal else camera
                image = see(seen.image, seen.to_original, lens, window)
                if posed is not None:
                    pixels, _, valid = camera.ideal().project(torch.from_numpy(posed[1]).to(camera.K))
                    stamp(image, window, torch.where(valid[..., None], pixels, torch.nan)[0], FITTED)
                if self.seen is not None:
                    stamp(image, window, self._labels(row, c, camera), ANNOTATED)
            found[name] = ShownImage(image, window)
        return found

    def _labels(self, row: int, c: int, camera: Cameras) -> torch.Tensor:
        """Give the labels of a view in ideal px."""
        pixels, inside = camera.undistort(self.seen.xy[row, c : c + 1].to(camera.K))
        there = inside & (self.seen.confidence[row, c : c + 1] > 0)
        return torch.where(there[..., None], pixels, torch.nan)[0]


def stamp(image: np.ndarray, window: CentredWindow, ideal: torch.Tensor, mark: Mark) -> None:
    """Draw a mark into `image` at each point that is finite and lies in it."""
    shown = window.shown(ideal.double().numpy())
    inside = (np.abs(shown) < 2 * max(image.shape[:2])).all(-1)
    for at in shown[inside]:
        mark.stamp(image, at, scale_of(image))


def with_cameras(scene: Scene, cameras: Cameras | None) -> Scene:
    """Give a scene with the cameras as a fit corrected them; lenses stay."""
    if cameras is None or scene.cameras is None:
        return scene
    lens = scene.cameras
    corrected = replace(cameras.to(lens.K), dist=lens.dist, fold=lens.fold)
    return replace(scene, cameras=corrected)
