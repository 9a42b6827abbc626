"""Masks of a few frames of a recording, in square cuts around the fitted body, as an Input of a fit."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.datasets.crops import Crop, UndistortedCut, cut, find_crop
from smilfit.handlers import SilhouetteInput
from smilfit.registrants.clip_fit import evenly_spaced_rows
from smilfit.registrants.segmentation.segmenters import Frame, Segmenter
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import BodyParams, Cameras

# Side of a cut around silhouette and mask over their extent: what sticks out of the mask must be seen to do so.
_MARGIN = 1.15


@runtime_checkable
class Recording(Protocol):
    """Images of calibrated cameras, such as `SleapSession`."""

    cameras: Cameras | None

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, Mapping[str, np.ndarray]]]:
        """Decode images (number, {camera: RGB}) by strictly increasing numbers."""
        ...


@dataclass(frozen=True)
class RecordedMasks:
    """Masks of rows of a fit.

    Attributes:
        rows: which of the fit's frames have them.
        given: the masks, undistorted cuts with their cameras; `view_weight` is 0 where one was refused.
        quality: of each mask, 0 where there is none.
        refused: by camera, how many masks were refused for which reason.
    """

    rows: Int[Tensor, ' n']
    given: SilhouetteInput
    quality: Float[Tensor, 'n C']
    refused: dict[str, dict[str, int]]


def recorded_masks(
    segmenter: Segmenter,
    recording: Recording,
    body: SMIL,
    params: BodyParams,
    rows: Int[Tensor, ' n'],
    numbers: Sequence[int],
    side_px: int = 256,
    session: str = '',
) -> RecordedMasks:
    """Segment frames in all cameras.

    Args:
        segmenter: finds the masks.
        recording: the images and their cameras, lens and all.
        body: the body.
        params: of all fitted frames.
        rows: the frames to segment, increasing.
        numbers: of all fitted frames, their numbers in the recording.
        side_px: side of the cuts.
        session: its name, for files of masks.

    Raises:
        ValueError: a recording without calibration, or no frame of which a mask was found.
    """
    cameras = recording.cameras
    if cameras is None:
        raise ValueError(
            'recorded_masks: the recording must be calibrated; it is not. Put calibration.toml into it.'
        )
    frames = partial(_frames, recording, cameras, body, params, numbers, session)
    if segmenter.n_prepared:
        for of_camera in zip(*frames(evenly_spaced_rows(len(numbers), segmenter.n_prepared))):
            segmenter.prepare(of_camera)
    masks, weight, quality, affine = [], [], [], []
    refused: dict[str, Counter[str]] = {name: Counter() for name in cameras.names}
    for images in frames(rows):
        for frame in images:
            lens = cameras.select([frame.camera])
            result = segmenter.segment(frame)
            crop = _crop(lens, frame.silhouette | result.mask, side_px)
            masks.append(_undistorted(result.mask, crop, lens))
            affine.append(torch.from_numpy(crop.affine()))
            weight.append(0.0 if result.refused else 1.0)
            quality.append(result.quality)
            if result.refused:
                refused[frame.camera][result.refused] += 1
    if not any(weight):
        why = '; '.join(sorted({reason for counts in refused.values() for reason in counts}))
        raise ValueError(
            f'{type(segmenter).__name__}: there must be a mask of at least one of {len(rows)} frames; all were '
            f'refused: {why}. Use another of GrabCutSegmenter and BackgroundSubtraction, or masks from files.'
        )
    shape = (len(rows), len(cameras))
    size = cameras.K.new_full((*shape, 2), float(side_px))
    cut_out = cameras.ideal().transformed(torch.stack(affine).reshape(*shape, 2, 3).to(cameras.K), size)
    stacked = torch.from_numpy(np.stack(masks)).reshape(*shape, side_px, side_px)
    given = SilhouetteInput(stacked.to(cameras.K), cut_out, torch.tensor(weight).reshape(shape).to(cameras.K))
    notes = {name: dict(counts) for name, counts in refused.items() if counts}
    return RecordedMasks(rows, given, torch.tensor(quality).reshape(shape), notes)


def _frames(
    recording: Recording,
    cameras: Cameras,
    body: SMIL,
    params: BodyParams,
    numbers: Sequence[int],
    session: str,
    rows: Int[Tensor, ' n'],
) -> Iterator[list[Frame]]:
    """Decode frames one after the other, and render the body into them."""
    render = ZBufferRenderer()
    for row, (number, images) in zip(
        rows.tolist(), recording.frames([int(numbers[r]) for r in rows.tolist()])
    ):
        with torch.no_grad():
            vertices = body(params[row].to(body.v_template), ('vertices',)).vertices
        silhouettes = {
            name: _silhouette(render, vertices, body.faces, cameras.select([name])) for name in cameras.names
        }
        yield [Frame(images[name], mask, name, number, session) for name, mask in silhouettes.items()]


def _silhouette(
    render: ZBufferRenderer, vertices: Tensor, faces: Tensor, camera: Cameras
) -> Bool[np.ndarray, 'H W']:
    return render(vertices, faces, camera.to(vertices)).alpha[0].cpu().numpy() > 0.5


def _crop(lens: Cameras, shown: Bool[np.ndarray, 'H W'], side_px: int) -> Crop:
    """Find the square around pixels of the annotated image, in px of the undistorted one."""
    size = [int(n) for n in lens.size[0].round()]
    row, column = np.nonzero(shown)
    pixels = torch.from_numpy(np.stack((column, row), 1)).to(lens.K)
    straight, valid = lens.undistort(pixels[None])
    points = straight[0][valid[0]].cpu().numpy()
    # A body out of sight has no mask either: any cut serves.
    mode = 'bbox_crop' if len(points) else 'centred'
    return find_crop(mode, size, side_px, points, _MARGIN)


def _undistorted(mask: Bool[np.ndarray, 'H W'], crop: Crop, lens: Cameras) -> Float[np.ndarray, 'r r']:
    """Cut a mask out of its image and undo the lens; a pixel that the outline crosses has its share."""
    image = mask.astype(np.uint8)[..., None].repeat(3, -1) * 255
    if lens.dist is None or lens.fold is None:
        return cut(image, crop)[..., 0] / 255.0
    intrinsics, dist, fold = (x[0].double().cpu().numpy() for x in (lens.K, lens.dist, lens.fold))
    return UndistortedCut.plan(crop, intrinsics, dist, float(fold))(image)[..., 0] / 255.0


def spread_frames(points: Float[Tensor, 'B P 3'], count: int, time_weight: float = 0.5) -> Int[Tensor, ' n']:
    """Choose frames whose bodies and times lie far apart: each next one is the farthest from those chosen before.

    Bodies are compared about their middle, not turned: one that has turned shows the cameras another side. The first
    is the one nearest the mean.

    Args:
        points: of the fitted body, such as its joints, world unit.
        count: how many are wanted; all frames where there are no more.
        time_weight: what the whole recording's time counts for, in units of the body's size.

    Returns:
        Rows, in order of time.
    """
    if len(points) <= count:
        return torch.arange(len(points))
    centred = points.double() - points.double().mean(1, keepdim=True)
    size = centred.square().sum(-1).mean().sqrt().clamp_min(1e-12)
    time = torch.linspace(0, time_weight, len(points), dtype=torch.float64, device=points.device)
    root = points.shape[1] ** 0.5
    features = torch.cat((centred.flatten(1) / (size * root), time[:, None]), 1)
    chosen = [int((features - features.mean(0)).norm(dim=1).argmin())]
    distances = (features - features[chosen[0]]).norm(dim=1)
    while len(chosen) < count:
        # What is chosen is not chosen again, even where all frames are alike.
        distances[chosen] = -1.0
        chosen.append(int(distances.argmax()))
        distances = torch.minimum(distances, (features - features[chosen[-1]]).norm(dim=1))
    return torch.tensor(sorted(chosen))
