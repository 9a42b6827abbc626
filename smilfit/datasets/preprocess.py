"""From sessions to one dataset file: every video read once, in order, in constant memory."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets.frame_plan import plan_session
from smilfit.datasets.image_plan import plan_images
from smilfit.datasets.image_session import ImageSession
from smilfit.datasets.point_plan import plan_points
from smilfit.datasets.session_plan import AnySession, Counts, SessionPlan
from smilfit.datasets.store.known_params import KnownParams, known_params_of
from smilfit.datasets.store.store_header import make_header
from smilfit.datasets.store.store_layout import StoreHeader
from smilfit.datasets.store.store_reader import DatasetFile
from smilfit.datasets.store.store_state import finish_store, is_made
from smilfit.datasets.store.store_writer import StoreWriter
from smilfit.datasets.store.stored_views import StoredSession
from smilfit.files import OutputLock
from smilfit.io.points import PointSession
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.registry import did_you_mean
from smilfit.structures import SkippedAnnotation


def make_report(
    plans: Sequence[SessionPlan],
    names: Sequence[str],
    camera_names: Sequence[str],
    known: Sequence[KnownParams | None],
    left_out: Sequence[SkippedAnnotation] = (),
    faults: Mapping[int, str] | None = None,
) -> Counts:
    """Count by session and in all.

    Args:
        plans: one a session, in the order of the file.
        names: keypoints of the file.
        camera_names: cameras of the file.
        known: parameters that the sessions know, one a plan.
        left_out: annotations that are in no plan.
        faults: sample number -> why its image was left out while it was encoded.

    Returns:
        `{'sessions': {name: counts}, 'totals': counts, 'cameras', 'keypoints'}`; where there are images with
        cameras of their own, `left_out` lists each that is not in the file with file, entry and reason.
    """
    broken = _broken(plans, faults or {})
    by_session: Counts = {}
    totals: Counts = {}
    for plan, params, lost in zip(plans, known, broken):
        counts = dict(plan.counts)
        counts['frames_stored'] -= len(lost)
        if plan.images is not None:
            counts['views_stored'] -= len(lost)
            counts['frames_that_do_not_decode'] = len(lost)
            counts['params_stored'] = 0 if params is None else int(params.known[plan.frames].sum())
            counts['params_of_another_body'] = 0 if params is None else params.n_misfits
        own = getattr(plan.session, 'report', None) or {}
        counts |= _damaged_views(plan)
        # Points in space have no views.
        if 'views_that_do_not_decode' in counts:
            counts['views_stored'] -= counts['views_that_do_not_decode']
        for key, value in counts.items():
            if isinstance(value, int):
                totals[key] = totals.get(key, 0) + value
        annotated = set(plan.session.keypoint_names)
        by_session[plan.session.name] = counts | {
            'names_not_in_model': sorted(annotated - set(names)),
            'names_not_annotated': sorted(set(names) - set(plan.names)),
            **({'reader': own} if own else {}),
        }
    report: Counts = {
        'sessions': by_session,
        'totals': totals,
        'cameras': list(camera_names),
        'keypoints': list(names),
    }
    if left_out or any(broken) or any(plan.images is not None for plan in plans):
        every = [*left_out, *(entry for lost in broken for entry in lost)]
        report['left_out'] = [{'where': entry.where, 'reason': entry.reason} for entry in every]
    return report


def _damaged_views(plan: SessionPlan) -> dict[str, int]:
    """Count views whose image did not decode, and those that the decoder made up in part; nothing of whole videos."""
    damage = getattr(plan.session, 'damage', {})
    counts = {'views_that_do_not_decode': 0, 'views_mended_by_the_decoder': 0}
    for c, name in enumerate(plan.cameras.names if damage else ()):
        if name in damage:
            frames = plan.frames[plan.view_mask[:, c]]
            counts['views_that_do_not_decode'] += int(np.isin(frames, damage[name].lost).sum())
            counts['views_mended_by_the_decoder'] += int(np.isin(frames, damage[name].mended).sum())
    return counts if damage else {}


def _broken(plans: Sequence[SessionPlan], faults: Mapping[int, str]) -> list[list[SkippedAnnotation]]:
    """Return each plan's images that did not decode; samples are numbered through all plans."""
    broken, first = [], 0
    for plan in plans:
        here = [n for n in sorted(faults) if first <= n < first + len(plan.frames)]
        broken.append([SkippedAnnotation(plan.where(n - first), faults[n]) for n in here])
        first += len(plan.frames)
    return broken


logger = logging.getLogger('smilfit')


def preprocess(
    sessions: Sequence[AnySession],
    out: str | Path,
    body: BodyModelData,
    options: PreprocessOptions | None = None,
    body_model_file: str | Path = '',
    shape_betas: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[int, int], None] | None = None,
    restart: bool = False,
    overwrite: bool = False,
    left_out: Sequence[SkippedAnnotation] = (),
) -> Counts:
    """Write a dataset file from sessions.

    Everything that can be wrong with the inputs is looked for before the first image is read. A run that
    was stopped goes on behind its last whole block when it is called again with the same inputs; a finished
    one is not done twice.

    Args:
        sessions: readers, such as `SleapSession`, and `ImageSession`s; their names must differ.
        out: the file to be.
        body: the body model whose joints and keypoints the sessions' names are.
        options: what to keep and how to store it.
        body_model_file: where the body model came from; the file states it.
        shape_betas: known shapes by exact session name.
        progress: called with how many samples are written, and of how many, before the first and after each.
        restart: throw a stopped run's partial file away.
        overwrite: replace a file of other inputs or options.
        left_out: annotations that are in no session; the report lists them too.

    Returns:
        What was kept and what was left out, with the reasons; see `make_report`.

    Raises:
        ValueError: inputs that contradict themselves or each other.
        FileExistsError: `out` exists and was made of other inputs.
    """
    options = options or PreprocessOptions()
    names = shared_keypoint_names(sessions, body)
    _check_sessions(sessions, options)
    _check_betas(shape_betas or {}, sessions, body)
    plans, unusable = plan_sessions(sessions, names, options)
    left_out = (*left_out, *unusable)
    known = [known_params_of(plan.session, body.n_joints, body.n_betas) for plan in plans]
    folder = Path(out).parent
    header = make_header(plans, names, body, options, str(body_model_file), shape_betas or {}, known, folder)
    report_of = partial(make_report, plans, names, header.camera_names, known, left_out)
    with OutputLock.of_file(out):
        if not overwrite and is_made(Path(out), header):
            logger.info('%s: is there already, made of the same inputs.', out)
            report = report_of(DatasetFile(out).faults)
            finish_store(Path(out), Path(out), header, report)
            return report
        return _write(out, header, plans, options, progress or (lambda done, total: None), restart, report_of)


def _write(
    out: str | Path,
    header: StoreHeader,
    plans: Sequence[SessionPlan],
    options: PreprocessOptions,
    progress: Callable[[int, int], None],
    restart: bool,
    report_of: Callable[[Mapping[int, str]], Counts],
) -> Counts:
    """Write the samples, and the report that `report_of` makes of those without an image."""
    total = sum(len(plan.frames) for plan in plans)
    with StoreWriter(out, header, restart=restart, n_expected=total) as writer:
        behind = written = writer.n_complete
        progress(written, total)
        for index, plan in enumerate(plans):
            skip = min(behind, len(plan.frames))
            behind -= skip
            for sample in plan.encode(index, header, options, skip):
                writer.append(sample)
                written += 1
                progress(written, total)
        writer.flush()
        report = report_of(writer.faults)
        writer.finish(report)
    return report


def plan_sessions(
    sessions: Sequence[AnySession], names: Sequence[str], options: PreprocessOptions
) -> tuple[list[SessionPlan], list[SkippedAnnotation]]:
    """Plan every session with those of the keypoints that it has; what cannot be used drops out.

    Returns:
        The plans, and the annotations and sessions that are in none.

    Raises:
        ValueError: no frame left in all, or the only session cannot be used.
    """
    plans: list[SessionPlan] = []
    left_out: list[SkippedAnnotation] = []
    fault: ValueError | None = None
    for session in sessions:
        own = [name for name in names if name in session.keypoint_names]
        if isinstance(session, StoredSession):
            plan, skipped = session.plan(own, options)
        elif isinstance(session, PointSession):
            plan, skipped = plan_points(session, own, options), ()
        elif isinstance(session, ImageSession):
            plan, skipped = plan_images(session, own, options)
        else:
            try:
                plan, skipped = plan_session(session, own, options), ()
            except ValueError as error:
                if len(sessions) == 1:
                    raise
                # One session's cameras are not the others' fault.
                fault = fault or error
                left_out.append(SkippedAnnotation(session.name, str(error)))
                logger.warning('%s: the session is left out: %s', session.name, error)
                continue
        left_out += skipped
        if len(plan.frames):
            plans.append(plan)
    if not plans and fault is not None:
        raise fault
    if not plans:
        raise ValueError(
            f'preprocess: an annotation must be usable; all {len(left_out)} are left out, the first '
            f'{left_out[0].where}: {left_out[0].reason}'
        )
    return plans, left_out


def shared_keypoint_names(sessions: Sequence[AnySession], body: BodyModelData) -> tuple[str, ...]:
    """Return the keypoints that the sessions and the model have in common, in the model's order.

    Where no session has keypoints at all (images with masks), these are the model's joints, seen nowhere.

    Raises:
        ValueError: a session without one such keypoint; shows its names and the model's.
    """
    table = keypoint_definitions(body)
    order = [*body.joint_names, *(name for name in table if name not in set(body.joint_names))]
    for session in sessions:
        if session.keypoint_names and not set(session.keypoint_names) & set(order):
            first = session.keypoint_names[0]
            raise ValueError(
                f'{session.name}: keypoints must have names of {body.name}; none of '
                f'{list(session.keypoint_names)} has. {did_you_mean(first, order)} '
                'Give a joint lookup (a csv with the columns model,data).'
            )
    result = {name for session in sessions for name in session.keypoint_names}
    return tuple(name for name in order if name in result) if result else tuple(body.joint_names)


def _check_sessions(sessions: Sequence[AnySession], options: PreprocessOptions) -> None:
    if not sessions:
        raise ValueError('preprocess: there must be a session; got none.')
    names = [session.name for session in sessions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f'preprocess: sessions must have different names; got {twice} twice. Rename a folder.'
        )
    units = {session.name: session.unit for session in sessions}
    if len(set(units.values())) > 1:
        raise ValueError(
            f'preprocess: sessions must have one world unit; got {units}. Give --unit, or convert.'
        )
    cameras = {name for session in sessions if session.cameras for name in session.cameras.names}
    for name in options.allow_inconsistent_cameras:
        if name not in cameras:
            raise ValueError(f'preprocess: no camera {name!r} to allow. {did_you_mean(name, cameras)}')


def _check_betas(
    betas: Mapping[str, np.ndarray], sessions: Sequence[AnySession], body: BodyModelData
) -> None:
    names = [session.name for session in sessions]
    for name, value in betas.items():
        if len(value) != body.n_betas:
            raise ValueError(
                f'preprocess: shape betas must be {body.n_betas} numbers, as {body.name} has; '
                f'got {len(value)} for {name!r}.'
            )
    if betas and not set(betas) & set(names):
        first = next(iter(betas))
        raise ValueError(
            f'preprocess: shape betas must name a session; none of {list(betas)} is one. '
            f'{did_you_mean(first, names)}'
        )
