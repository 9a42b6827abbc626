"""A fit, ready to be written for other programs: what all formats are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.body_models import SMIL
from smilfit.io.gltf_animation import SkinImage
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
        there = (points.confidence > 0).cpu().numpy() & self.valid[:, None]
        return np.where(there[..., None], points.xyz.cpu().double().numpy(), np.nan)

    @cached_property
    def score3d(self) -> Float[np.ndarray, 'T K']:
        """Their confidences; 0 where missing."""
        points = self.fit.keypoints3d
        assert points is not None
        return np.where(np.isfinite(self.xyz).all(-1), points.confidence.cpu().double().numpy(), 0.0)

    @cached_property
    def seen(self) -> tuple[Float[np.ndarray, 'T C K 2'], Float[np.ndarray, 'T C K']]:
        """Keypoints in px of the recorded images, NaN where missing or beyond a lens's fold, and scores."""
        if self.pixels is not None:
            return self.pixels
        cameras = self.cameras
        assert cameras is not None
        points = torch.from_numpy(self.xyz)
        there = points.isfinite().all(-1)
        xy, _, inside = cameras.to(torch.float64).project(points.nan_to_num(0.0))
        shown = (inside & there.unsqueeze(1)).numpy()
        score = np.where(shown, self.score3d[:, None], 0.0)
        return np.where(shown[..., None], xy.numpy(), np.nan), score

    def by_number(self, rows: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """Put rows at their frame's number, as formats without frame numbers want; single images stay in order."""
        if not self.in_time:
            return rows
        spread = np.full((int(self.frames.max()) + 1, *rows.shape[1:]), fill)
        spread[self.frames] = rows
        return spread
