"""What a format is: a class that says what it needs and writes its files."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.body_models import SMIL
from smilfit.io.meshes.gltf_animation import SkinImage
from smilfit.options.export_options import ExportOptions
from smilfit.registry import EXPORTERS, reject_unknown
from smilfit.structures import BodyParams, Cameras, FitResult, Keypoints2d


@dataclass(frozen=True)
class ExportedFit:
    """A fit of T frames with what its formats need beside it.

    Args:
        name: of the recording.
        fit: the fit; its body is there where formats need one.
        frames: numbers of the frames in the recording.
        valid: which of them have a body.
        fps: frames per second of the recording; None where unknown.
        pixels: points (T, C, K, 2) px of the recorded images, NaN where missing, and scores (T, C, K), where somebody
            has them; else the fitted keypoints are projected.
        observed: the annotated keypoints, where they are at hand.
        videos: by camera, what labels belong to.
        labels: names of single images; none of a recording.
        views: names of the cameras of `pixels`.
        skin: an image of the body's skin, where its rig brought one.
        no_body: why the body model is not at hand.
    """

    name: str
    fit: FitResult
    frames: Int[np.ndarray, ' T']
    valid: Bool[np.ndarray, ' T']
    fps: float | None = None
    pixels: tuple[np.ndarray, np.ndarray] | None = None
    observed: Keypoints2d | None = None
    videos: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    skin: SkinImage | None = None
    no_body: str = ''

    @property
    def unit(self) -> str | None:
        """The world's unit; None where unknown."""
        return self.fit.unit

    @property
    def in_time(self) -> bool:
        """Whether its frames follow one another."""
        return not self.labels

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints; none where the fit keeps none."""
        return () if self.fit.keypoints3d is None else tuple(self.fit.keypoints3d.names)

    @property
    def cameras(self) -> Cameras | None:
        """The cameras of the recorded images; None where they are not known, or not one set for all frames."""
        return self.fit.annotated_cameras

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the C cameras."""
        if self.views or self.cameras is None:
            return self.views
        return tuple(self.cameras.names)

    @property
    def body(self) -> SMIL:
        """The body model.

        Raises:
            ValueError: there is none.
        """
        if not isinstance(self.fit.body, SMIL):
            raise ValueError(f'{self.name}: the body model must be known; it is not. Give --body-model FILE.')
        return self.fit.body

    @property
    def params(self) -> BodyParams:
        """The parameters of the frames that have a body, in the body's type."""
        rows = torch.from_numpy(np.flatnonzero(self.valid))
        return self.fit.params.to('cpu')[rows].to(self.body.v_template)

    @property
    def times_s(self) -> Float[np.ndarray, ' T']:
        """Seconds since the recording's start; NaN where its rate is not known."""
        return self.frames / self.fps if self.fps else np.full(len(self.frames), np.nan)

    @cached_property
    def xyz(self) -> Float[np.ndarray, 'T K 3']:
        """The fitted keypoints, world unit; NaN where missing."""
        points = self.fit.keypoints3d
        assert points is not None
        valid = (points.confidence > 0).cpu().numpy() & self.valid[:, None]
        return np.where(valid[..., None], points.xyz.cpu().double().numpy(), np.nan)

    @cached_property
    def score3d(self) -> Float[np.ndarray, 'T K']:
        """Their confidences; 0 where missing."""
        points = self.fit.keypoints3d
        assert points is not None
        return np.where(np.isfinite(self.xyz).all(-1), points.confidence.cpu().double().numpy(), 0.0)

    @cached_property
    def points2d(self) -> tuple[Float[np.ndarray, 'T C K 2'], Float[np.ndarray, 'T C K']]:
        """Keypoints in px of the recorded images, NaN where missing or beyond a lens's fold, and scores."""
        if self.pixels is not None:
            return self.pixels
        cameras = self.cameras
        assert cameras is not None
        points = torch.from_numpy(self.xyz)
        valid = points.isfinite().all(-1)
        xy, _, inside = cameras.to(torch.float64).project(points.nan_to_num(0.0))
        shown = (inside & valid.unsqueeze(1)).numpy()
        score = np.where(shown, self.score3d[:, None], 0.0)
        return np.where(shown[..., None], xy.numpy(), np.nan), score

    def by_number(self, rows: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Put rows at their frame's number, as formats without frame numbers want; single images stay in order."""
        if not self.in_time:
            return rows
        spread = np.full((int(self.frames.max()) + 1, *rows.shape[1:]), fill)
        spread[self.frames] = rows
        return spread


# What a format may need: how to tell whether it is there, and what to say where it is not.
_NEEDS: dict[str, tuple[Callable[[ExportedFit], bool], str]] = {
    'keypoints': (
        lambda e: bool(e.keypoint_names),
        'the file keeps no keypoints. Fit again, with a version that keeps them',
    ),
    'cameras': (
        lambda e: e.cameras is not None,
        'the file keeps no cameras of the recorded images that hold for the fit',
    ),
    'one rig': (
        lambda e: e.cameras is not None and e.cameras.K.ndim == 3,
        'every image has a camera of its own, and the format has one set for all frames',
    ),
    'pixels': (
        lambda e: e.pixels is not None or e.cameras is not None,
        'the file keeps no cameras of the recorded images that hold for the fit',
    ),
    'time': (lambda e: e.in_time, 'its frames are single images, which do not follow one another in time'),
    'fps': (lambda e: bool(e.fps), 'frames per second are not known. Give --fps'),
    'body': (
        lambda e: isinstance(e.fit.body, SMIL),
        'the body model is not known. Give --body-model FILE',
    ),
    'faces': (
        lambda e: isinstance(e.fit.body, SMIL) and len(e.fit.body.faces) > 0,
        'the body model must have faces. Give another one, or leave the format out',
    ),
}


class FitExporter(ABC):
    """Writes a fit in one format.

    A format of your own is a class that `EXPORTERS.register_module(name='my_format')` names; `--import my_file.py`
    makes it known to the command.
    """

    # Of the names in this file's table, in the order in which they are looked at.
    needs: tuple[str, ...] = ()

    def why_not(self, fit: ExportedFit) -> str | None:
        """Return why a fit cannot be written so; None where it can."""
        if not fit.valid.any():
            return 'no frame has a body'
        missing = next((name for name in self.needs if not _NEEDS[name][0](fit)), None)
        if missing is None:
            return None
        no_body = missing in ('body', 'faces') and not isinstance(fit.fit.body, SMIL)
        return fit.no_body if no_body and fit.no_body else _NEEDS[missing][1]

    @abstractmethod
    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write the files into an empty folder."""


def exporter(name: str) -> FitExporter:
    """Return a format by name.

    Raises:
        UnknownNameError: an unknown one, with the near ones.
    """
    reject_unknown('--to', 'format', [name], formats())
    result: FitExporter = EXPORTERS.get(name)()
    return result


def formats() -> tuple[str, ...]:
    """Name all formats."""
    EXPORTERS.import_from_location()
    return tuple(EXPORTERS.module_dict)
