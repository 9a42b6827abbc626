"""Decide which frames and views of a session are kept, and where their keypoints are; count what is not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from smilfit.datasets.session_plan import (
    Session,
    SessionPlan,
    camera_counts,
    counting_scores,
    plan_centres,
    thresholds_of,
    warn_of_large_losses,
)
from smilfit.datasets.store.sample_encoder import DecodedFrame, Placer, encode_frames
from smilfit.datasets.store.store_layout import EncodedSample, StoreHeader
from smilfit.io import RecordedSession, check_cameras, triangulate_keypoints
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import CameraReport, Keypoints2d, Keypoints3d


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
    observed = session.keypoints2d(tuple(names))
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
        xy=observed.xy[:, keep].double(),
        confidence=observed.confidence[:, keep].double(),
        names=observed.names,
        cameras=session.cameras.select([session.cameras.names[i] for i in keep]).to(torch.float64),
    )


def _require_sighted_cameras(session: Session, observed: Keypoints2d, thresholds: torch.Tensor) -> None:
    counts = observed.visible.sum((0, 2)).tolist()
    blind = [name for name, count in zip(observed.rig.names, counts) if count == 0]
    if blind:
        least = float(thresholds[observed.rig.names.index(blind[0])])
        raise ValueError(
            f'{session.name}: every camera must have a keypoint of confidence >= {least:g}; '
            f'{", ".join(blind)} has none. '
            f'Lower --confidence-threshold, or leave it out with --exclude-cameras {" ".join(blind)}.'
        )


def require_consistent_cameras(
    name: str, observed: Keypoints2d, points: Keypoints3d | None, options: PreprocessOptions
) -> CameraReport | None:
    """Judge each camera by the others and refuse a session whose calibration contradicts itself.

    Returns:
        What was found; None of a camera alone.

    Raises:
        ValueError: names the cameras, their figures and the choices.
    """
    if len(observed.rig) < 2:
        return None
    report = check_cameras(observed, points)
    if report.unit_factor is not None:
        raise ValueError(
            f'{name}: 3D points must have the unit of the calibration; {report.message()} Convert the '
            'points, or leave them out with --no-3d-data.'
        )
    allowed = set(options.allow_inconsistent_cameras)
    accused = [name for name in report.contradicting if name not in allowed]
    unclear = report.ambiguous and not set(observed.rig.names) <= allowed
    if accused or unclear:
        named = ' '.join(accused or observed.rig.names)
        which, they = ('it', 'it is') if len(accused) == 1 else ('them', 'they are')
        mend = f' (smilfit calibrate camera SESSION --camera {accused[0]} --out DIR)' if accused else ''
        raise ValueError(
            f'{name}: cameras must agree with each other; {report.message()} '
            f'Correct the calibration{mend}, leave {"wrong ones" if unclear else which} out with '
            f'--exclude-cameras {"NAME" if unclear else named}, or keep {which} as {they} with '
            f'--allow-inconsistent-cameras {named}.'
        )
    return report


def median_figures(report: CameraReport | None) -> dict[str, float]:
    """Return each camera's median distance of labels from the 3D points, px, as reports of preprocessing have it."""
    figures = {} if report is None else report.median_px
    return {name: round(px, 3) for name, px in figures.items() if np.isfinite(px)}


class RecordingPlan(SessionPlan):
    """What will be stored of a recording: frames of a rig."""

    session: Session

    def encode(
        self, index: int, header: StoreHeader, options: PreprocessOptions, skip: int
    ) -> Iterator[EncodedSample]:
        """Decode, cut and encode the frames."""
        decoded = _decoded(self.session, self.frames[skip:].tolist(), header.with_masks)
        return encode_frames(Placer(index, self, header, options), decoded, skip)


def _decoded(session: Session, frames: list[int], with_masks: bool) -> Iterator[DecodedFrame]:
    """Return images (and masks) of each frame; refuse a reader that loses frames."""
    masks = iter(session.masks(frames)) if with_masks and hasattr(session, 'masks') else None
    decoded = (
        session.frames_that_decode(frames) if isinstance(session, RecordedSession) else session.frames(frames)
    )
    for wanted in frames:
        item = next(decoded, None)
        if item is None or item[0] != wanted:
            raise RuntimeError(
                f'{session.name}: frame {wanted} must come next; got {None if item is None else item[0]}. '
                'Is a video cut short?'
            )
        yield (
            item[1],
            (next(masks)[1] if masks is not None else {}),
            '' if item[1] else 'no image of it decodes',
        )
    # What is damaged is known at the end.
    next(decoded, None)


def plan_session(session: Session, names: Sequence[str], options: PreprocessOptions) -> RecordingPlan:
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
    observed = replace(raw, confidence=counting_scores(raw.confidence, thresholds))
    _require_sighted_cameras(session, observed, thresholds)
    given = None if options.no_3d_data else session.keypoints3d(tuple(names))
    report = require_consistent_cameras(session.name, observed, given, options)
    cameras = observed.rig
    ideal, inside = cameras.undistort(observed.xy)
    labelled = observed.confidence > 0
    confidence = torch.where(inside, observed.confidence, torch.zeros_like(observed.confidence))
    views = (confidence > 0).any(-1)
    enough = views.sum(-1) >= options.min_views
    chosen = _choose(session.name, enough, float(thresholds.min()), options)
    bare = _spread(~enough, options.unlabelled)
    n_labelled = len(chosen)
    chosen = torch.cat((chosen, bare)).sort().values
    views[bare], confidence[bare] = True, 0.0
    kept = Keypoints2d(observed.xy[chosen], confidence[chosen], observed.names, cameras)
    points, source = _points3d(kept, given, chosen, options)
    points = replace(points, confidence=points.confidence * enough[chosen].unsqueeze(-1))
    xy = torch.where(kept.visible[..., None], (observed.xy if options.no_undistort else ideal)[chosen], 0.0)
    below = raw.visible & ~labelled
    warn_of_large_losses(session.name, camera_counts(cameras.names, raw.visible, below, thresholds))
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
    return RecordingPlan(
        session=session,
        cameras=cameras,
        frames=chosen.numpy(),
        view_mask=views[chosen].numpy(),
        names=observed.names,
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


def _spread(mask: torch.Tensor, count: int) -> torch.Tensor:
    """Choose so many rows at most, evenly spread over those where the mask is True."""
    rows = mask.nonzero().squeeze(-1)
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
