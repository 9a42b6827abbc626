"""Decide which frames and views of a session are kept, and where their keypoints are; count what is not."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.datasets.centre_plan import plan_centres
from smilfit.datasets.crops import BBOX_MARGIN, CROP_MODES
from smilfit.datasets.label_scores import camera_counts, counting_scores, tell_large_losses, thresholds_of
from smilfit.datasets.store.store_layout import ImageTable
from smilfit.io import check_cameras, triangulate_keypoints
from smilfit.registry import did_you_mean
from smilfit.structures import AnimalCentres, CameraReport, Cameras, Keypoints2d, Keypoints3d


@runtime_checkable
class Session(Protocol):
    """What preprocessing asks of a session; `SleapSession` is one."""

    name: str
    cameras: Cameras | None
    unit: str | None
    fps: float | None
    keypoint_names: tuple[str, ...]

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return labels of all frames, original px."""

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return 3D points of all frames, if there are any."""

    def frames(self, indices: Sequence[int] | None = None) -> Any:
        """Decode images in order."""


@dataclass(frozen=True)
class PreprocessOptions:
    """What is kept of a session, and how its images are stored.

    `frame_skip` n keeps every n-th of the frames with `min_views` views; then the first
    `max_frames_per_session` of these are taken. `unlabelled` further frames, evenly spread over those with too few
    views, are stored with all views and without keypoints, for pseudo-labels. Views are those with a keypoint of at
    least `confidence_threshold`; None takes what the labels' kind of score asks for (0.2 for SLEAP's peaks, 0 for its
    proofread files, 0.6 for likelihoods in DeepLabCut's tables, 0.5 elsewhere). `retriangulate` places
    3D points anew from the kept cameras although the session has some. `n_animals` is how many animals an
    image shows where all are in it; None takes the most that are labelled in one. Images in which fewer are labelled
    say nothing of the others. `num_workers` threads cut and encode images
    while the next ones are decoded; 0 does it in turn.
    """

    max_frames_per_session: int | None = None
    frame_skip: int = 1
    unlabelled: int = 0
    min_views: int = 2
    crop_mode: str = 'default'
    bbox_margin: float = BBOX_MARGIN
    target_resolution: int = 224
    no_3d_data: bool = False
    retriangulate: bool = False
    no_undistort: bool = False
    confidence_threshold: float | None = None
    use_reprojections: bool = False
    num_workers: int = 1
    exclude_cameras: tuple[str, ...] = ()
    allow_inconsistent_cameras: tuple[str, ...] = ()
    jpeg_quality: int = 95
    n_animals: int | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value that cannot work.
        """
        limits = {
            'max_frames_per_session': (1, None),
            'frame_skip': (1, None),
            'unlabelled': (0, None),
            'min_views': (1, None),
            'bbox_margin': (1.0, None),
            'target_resolution': (16, 8192),
            'confidence_threshold': (0.0, 1.0),
            'num_workers': (0, 256),
            'jpeg_quality': (1, 100),
            'n_animals': (1, None),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and (value < low or (high is not None and value > high)):
                rule = f'at least {low}' if high is None else f'from {low} to {high}'
                raise ValueError(f'PreprocessOptions: {name} must be {rule}; got {value}.')
        if self.crop_mode not in CROP_MODES:
            raise ValueError(
                f'PreprocessOptions: crop_mode must be one of {CROP_MODES}; got {self.crop_mode!r}. '
                f'{did_you_mean(self.crop_mode, CROP_MODES)}'
            )
        if self.unlabelled and self.crop_mode == 'bbox_crop':
            raise ValueError(
                "PreprocessOptions: crop_mode must be 'default' or 'centred' for unlabelled frames, which do not say "
                'where the animal is; got bbox_crop. Choose one of them.'
            )
        if self.no_3d_data and self.retriangulate:
            raise ValueError('PreprocessOptions: retriangulate makes 3D data; it contradicts no_3d_data.')

    def deciding(self) -> dict[str, Any]:
        """Return what the file depends on, so without the number of threads.

        What is not asked for, `unlabelled` frames or a number of animals, is not named: files of before stay what
        they are.
        """
        stated = {f.name: getattr(self, f.name) for f in fields(self) if f.name != 'num_workers'}
        optional = {'unlabelled': bool(self.unlabelled), 'n_animals': self.n_animals is not None}
        return {name: value for name, value in stated.items() if optional.get(name, True)}


@dataclass(frozen=True)
class SessionPlan:
    """What will be stored of one session: n frames, its C kept cameras, its K keypoints.

    Keypoints are px of the image that is cut: undistorted if `undistorted`. `counts` says what was kept
    and what was left out, with the reason. Of images with cameras of their own there are `images`, `cameras`
    has a row a frame, `numbers` are the frames' times, and crops go round `boxes` (x0, y0, x1, y1: first and last
    pixel; NaN where the keypoints say it). `stored` is the session where its images are cut already. `centres` are
    those of all animals, where there are several, px of the image that is cut. Points in space may have none.
    `camera_report` is what the cameras were judged to be by the whole recording, where they could be.
    """

    session: Any
    cameras: Cameras
    frames: Int[np.ndarray, ' n']
    view_mask: Bool[np.ndarray, 'n C']
    names: tuple[str, ...]
    keypoints2d: Float[np.ndarray, 'n C K 2']
    confidence2d: Float[np.ndarray, 'n C K']
    keypoints3d: Float[np.ndarray, 'n K 3']
    confidence3d: Float[np.ndarray, 'n K']
    undistorted: bool
    counts: dict[str, Any] = field(default_factory=dict)
    numbers: Int[np.ndarray, ' n'] | None = None
    boxes: Float[np.ndarray, 'n C 4'] | None = None
    images: ImageTable | None = None
    stored: Any = None
    centres: AnimalCentres | None = None
    camera_report: CameraReport | None = None

    def frame_number(self, n: int) -> int:
        """Return the stored number of the n-th frame."""
        return int((self.frames if self.numbers is None else self.numbers)[n])

    def crop_points(self, n: int, c: int) -> Float[np.ndarray, 'p 2']:
        """Return the points that a bbox crop goes round: corners of the box, else the keypoints."""
        if self.boxes is not None and not np.isnan(self.boxes[n, c]).any():
            return self.boxes[n, c].reshape(2, 2)
        return self.keypoints2d[n, c][self.confidence2d[n, c] > 0]


def labels_of_kept_cameras(session: Session, names: Sequence[str], options: PreprocessOptions) -> Keypoints2d:
    """Return a session's labels by name, without the excluded cameras.

    Raises:
        ValueError: no calibration, or too few cameras for `min_views`.
    """
    if session.cameras is None:
        raise ValueError(
            f'{session.name}: a session must be calibrated for a multi-view dataset; it has no cameras. '
            'Put its calibration.toml there.'
        )
    seen = session.keypoints2d(tuple(names))
    keep = [i for i, name in enumerate(session.cameras.names) if name not in options.exclude_cameras]
    if len(keep) < options.min_views:
        without = ', '.join(options.exclude_cameras)
        got = (
            f'{len(keep)} are left without {without}. Exclude fewer, or lower'
            if without
            else f'got {len(keep)}. Lower'
        )
        raise ValueError(
            f'{session.name}: cameras must be at least min_views = {options.min_views}; {got} it (--min-views).'
        )
    return Keypoints2d(
        xy=seen.xy[:, keep].double(),
        confidence=seen.confidence[:, keep].double(),
        names=seen.names,
        cameras=session.cameras.select([session.cameras.names[i] for i in keep]).to(torch.float64),
    )


def _require_sighted_cameras(session: Session, seen: Keypoints2d, thresholds: torch.Tensor) -> None:
    counts = seen.visible.sum((0, 2)).tolist()
    blind = [name for name, count in zip(seen.rig.names, counts) if count == 0]
    if blind:
        least = float(thresholds[seen.rig.names.index(blind[0])])
        raise ValueError(
            f'{session.name}: every camera must have a keypoint of confidence >= {least:g}; '
            f'{", ".join(blind)} has none. '
            f'Lower --confidence-threshold, or leave it out with --exclude-cameras {" ".join(blind)}.'
        )


def require_consistent_cameras(
    session: Session, seen: Keypoints2d, points: Keypoints3d | None, options: PreprocessOptions
) -> CameraReport | None:
    """Judge each camera by the others and refuse a session whose calibration contradicts itself.

    Returns:
        What was found; None of a camera alone.

    Raises:
        ValueError: names the cameras, their figures and the choices.
    """
    if len(seen.rig) < 2:
        return None
    report = check_cameras(seen, points)
    if report.unit_factor is not None:
        raise ValueError(
            f'{session.name}: 3D points must have the unit of the calibration; {report.message()} Convert the '
            'points, or leave them out with --no-3d-data.'
        )
    allowed = set(options.allow_inconsistent_cameras)
    accused = [name for name in report.contradicting if name not in allowed]
    unclear = report.ambiguous and not set(seen.rig.names) <= allowed
    if accused or unclear:
        named = ' '.join(accused or seen.rig.names)
        which, they = ('it', 'it is') if len(accused) == 1 else ('them', 'they are')
        mend = f' (smilfit calibrate camera SESSION --camera {accused[0]} --out DIR)' if accused else ''
        raise ValueError(
            f'{session.name}: cameras must agree with each other; {report.message()} '
            f'Correct the calibration{mend}, leave {"wrong ones" if unclear else which} out with '
            f'--exclude-cameras {"NAME" if unclear else named}, or keep {which} as {they} with '
            f'--allow-inconsistent-cameras {named}.'
        )
    return report


def median_figures(report: CameraReport | None) -> dict[str, float]:
    """Return each camera's median distance of labels from the 3D points, px, as reports of preprocessing have it."""
    figures = {} if report is None else report.median_px
    return {name: round(px, 3) for name, px in figures.items() if np.isfinite(px)}


def plan_session(session: Session, names: Sequence[str], options: PreprocessOptions) -> SessionPlan:
    """Choose frames and views, move keypoints to the images that will be cut, find 3D points.

    Args:
        session: a reader.
        names: the keypoints to keep, all of them the session's.
        options: what to keep.

    Raises:
        ValueError: cameras that contradict each other, or no frame left; before any image is read.
    """
    raw = labels_of_kept_cameras(session, names, options)
    thresholds = thresholds_of(session, raw.rig.names, options.confidence_threshold)
    seen = replace(raw, confidence=counting_scores(raw.confidence, thresholds))
    _require_sighted_cameras(session, seen, thresholds)
    given = None if options.no_3d_data else session.keypoints3d(tuple(names))
    report = require_consistent_cameras(session, seen, given, options)
    cameras = seen.rig
    ideal, inside = cameras.undistort(seen.xy)
    labelled = seen.confidence > 0
    confidence = torch.where(inside, seen.confidence, torch.zeros_like(seen.confidence))
    views = (confidence > 0).any(-1)
    enough = views.sum(-1) >= options.min_views
    chosen = _choose(session.name, enough, float(thresholds.min()), options)
    bare = _spread(~enough, options.unlabelled)
    n_labelled = len(chosen)
    chosen = torch.cat((chosen, bare)).sort().values
    views[bare], confidence[bare] = True, 0.0
    kept = Keypoints2d(seen.xy[chosen], confidence[chosen], seen.names, cameras)
    points, source = _points3d(kept, given, chosen, options)
    points = replace(points, confidence=points.confidence * enough[chosen].unsqueeze(-1))
    xy = torch.where(kept.visible[..., None], (seen.xy if options.no_undistort else ideal)[chosen], 0.0)
    below = raw.visible & ~labelled
    tell_large_losses(session.name, camera_counts(cameras.names, raw.visible, below, thresholds))
    counts = {
        'frames': len(enough),
        'frames_stored': len(chosen),
        'frames_with_too_few_views': int((~enough).sum()),
        'frames_skipped': int(enough.sum()) - n_labelled,
        **({'frames_stored_unlabelled': len(bare)} if options.unlabelled else {}),
        'views_stored': int(views[chosen].sum()),
        'views_without_keypoints': int((~views[chosen]).sum()),
        'keypoints_stored': int((confidence[chosen] > 0).sum()),
        'keypoints_missing': int((~raw.visible[chosen]).sum()),
        'keypoints_below_threshold': int(below[chosen].sum()),
        'keypoints_beyond_lens_fold': int((labelled & ~inside)[chosen].sum()),
        'points3d_stored': int((points.confidence > 0).sum()),
        'points3d_missing': int((points.confidence == 0).sum()),
        'points3d_from': source,
        'camera_median_px': median_figures(report),
        'cameras': camera_counts(cameras.names, raw.visible[chosen], below[chosen], thresholds),
    }
    return SessionPlan(
        session=session,
        cameras=cameras,
        frames=chosen.numpy(),
        view_mask=views[chosen].numpy(),
        names=seen.names,
        keypoints2d=xy.numpy(),
        confidence2d=kept.confidence.numpy(),
        keypoints3d=points.xyz.double().numpy(),
        confidence3d=points.confidence.double().numpy(),
        undistorted=not options.no_undistort,
        counts=counts,
        centres=plan_centres(session, cameras, chosen, options.n_animals, not options.no_undistort),
        camera_report=report,
    )


def _choose(name: str, enough: torch.Tensor, threshold: float, options: PreprocessOptions) -> torch.Tensor:
    """Choose frames among those with enough views."""
    chosen = enough.nonzero().squeeze(-1)[:: options.frame_skip][: options.max_frames_per_session]
    if len(chosen) == 0:
        raise ValueError(
            f'{name}: a frame must have {options.min_views} views with a keypoint of confidence >= {threshold:g}; of '
            f'{len(enough)} none has. Lower min_views or the threshold.'
        )
    return chosen


def _spread(there: torch.Tensor, count: int) -> torch.Tensor:
    """Choose so many rows at most, evenly spread over those where `there` is True."""
    rows = there.nonzero().squeeze(-1)
    if len(rows) <= count:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()] if count else rows[:0]


def _points3d(
    kept: Keypoints2d, given: Keypoints3d | None, chosen: torch.Tensor, options: PreprocessOptions
) -> tuple[Keypoints3d, str]:
    """Take the session's 3D points, or place them from the kept views, or leave them out."""
    if options.no_3d_data or (given is None and len(kept.rig) < 2):
        shape = (kept.batch_size, len(kept.names))
        zeros = kept.xy.new_zeros
        return Keypoints3d(zeros((*shape, 3)), zeros(shape), kept.names), 'nothing'
    if given is None or options.retriangulate:
        return triangulate_keypoints(kept), 'triangulation'
    return given[chosen], 'the session'
