"""From sessions to one dataset file: every video read once, in order, in constant memory."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets.frame_plan import PreprocessOptions, Session, SessionPlan, plan_session
from smilfit.datasets.sample_encoder import encode_session, true_params_of
from smilfit.datasets.store_layout import SessionHeader, StoreHeader, fingerprint
from smilfit.datasets.store_reader import DatasetFile
from smilfit.datasets.store_writer import StoreWriter
from smilfit.registry import did_you_mean

logger = logging.getLogger('smilfit')


def preprocess(
    sessions: Sequence[Session],
    out: str | Path,
    body: BodyModelData,
    options: PreprocessOptions | None = None,
    body_model_file: str | Path = '',
    shape_betas: Mapping[str, np.ndarray] | None = None,
    progress: bool = False,
    restart: bool = False,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a dataset file from sessions.

    Everything that can be wrong with the inputs is looked for before the first picture is read. A run that
    was stopped goes on behind its last whole block when it is called again with the same inputs; a finished
    one is not done twice.

    Args:
        sessions: readers, such as `SleapSession`; their names must differ.
        out: the file to be.
        body: the body model whose joints and keypoints the sessions' names are.
        options: what to keep and how to store it.
        body_model_file: where the body model came from; the file states it.
        shape_betas: known shapes by exact session name.
        progress: show a bar with the time left.
        restart: throw a stopped run's partial file away.
        overwrite: replace a file of other inputs or options.

    Returns:
        What was kept and what was left out, with the reasons: `{'sessions': {name: counts}, 'totals': counts}`.

    Raises:
        ValueError: inputs that contradict themselves or each other.
        FileExistsError: `out` exists and was made of other inputs.
    """
    options = options or PreprocessOptions()
    names = shared_keypoint_names(sessions, body)
    _check_sessions(sessions, options)
    _check_betas(shape_betas or {}, sessions, body)
    plans = [
        plan_session(session, [n for n in names if n in session.keypoint_names], options)
        for session in sessions
    ]
    header = _header(plans, names, body, options, str(body_model_file), shape_betas or {})
    report = _report(plans, sessions, names, header)
    if Path(out).exists() and not overwrite:
        if DatasetFile(out).fingerprint == header.fingerprint:
            logger.info('%s: is there already, made of the same inputs.', out)
            return report
        raise FileExistsError(
            f'{out}: the dataset must not exist yet, or come from the same inputs and options; it does not. '
            'Choose another name, or overwrite it with --overwrite.'
        )
    with StoreWriter(out, header, restart=restart) as writer:
        total = sum(len(plan.frames) for plan in plans)
        done = writer.n_complete
        with _ProgressBar(progress, total, done) as step:
            for index, plan in enumerate(plans):
                skip = min(done, len(plan.frames))
                done -= skip
                for sample in encode_session(index, plan, header, options, skip):
                    writer.append(sample)
                    step()
        writer.finish(report)
    return report


def shared_keypoint_names(sessions: Sequence[Session], body: BodyModelData) -> tuple[str, ...]:
    """Give the keypoints that the sessions and the model have in common, in the model's order.

    Raises:
        ValueError: a session without one such keypoint; shows its names and the model's.
    """
    table = keypoint_definitions(body)
    order = [*body.joint_names, *(name for name in table if name not in set(body.joint_names))]
    for session in sessions:
        if not set(session.keypoint_names) & set(order):
            first = session.keypoint_names[0]
            raise ValueError(
                f'{session.name}: keypoints must have names of {body.name}; none of '
                f'{list(session.keypoint_names)} has. {did_you_mean(first, order)} '
                'Give a joint lookup (a csv with the columns model,data).'
            )
    found = {name for session in sessions for name in session.keypoint_names}
    return tuple(name for name in order if name in found)


def _check_sessions(sessions: Sequence[Session], options: PreprocessOptions) -> None:
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


def _check_betas(betas: Mapping[str, np.ndarray], sessions: Sequence[Session], body: BodyModelData) -> None:
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


def _header(
    plans: Sequence[SessionPlan],
    names: tuple[str, ...],
    body: BodyModelData,
    options: PreprocessOptions,
    body_model_file: str,
    betas: Mapping[str, np.ndarray],
) -> StoreHeader:
    headers = tuple(
        SessionHeader(
            name=plan.session.name,
            cameras=plan.cameras,
            unit=plan.session.unit,
            fps=plan.session.fps,
            source=str(getattr(plan.session, 'folder', '')),
            betas=betas.get(plan.session.name),
        )
        for plan in plans
    )
    parts: list[Any] = [body.content_hash(), options.deciding(), names]
    for plan, header in zip(plans, headers):
        cameras = plan.cameras
        parts += [
            header.name,
            header.unit,
            header.fps,
            cameras.names,
            plan.names,
            plan.frames,
            plan.view_mask,
        ]
        parts += [
            getattr(cameras, n).numpy()
            for n in ('K', 'R', 't', 'size', 'dist')
            if getattr(cameras, n) is not None
        ]
        parts += [plan.keypoints2d, plan.confidence2d, plan.keypoints3d, plan.confidence3d]
        parts += [None if header.betas is None else np.asarray(header.betas)]
    known = [true_params_of(plan.session, body.n_joints, body.n_betas) for plan in plans]
    parts += [value for params in known if params for value in params.values()]
    return StoreHeader(
        body_model_file=body_model_file,
        body_model_hash=body.content_hash(),
        keypoint_names=names,
        joint_names=tuple(body.joint_names),
        n_betas=body.n_betas,
        camera_names=tuple(dict.fromkeys(name for plan in plans for name in plan.cameras.names)),
        crop_mode=options.crop_mode,
        target_resolution=options.target_resolution,
        undistorted=not options.no_undistort,
        confidence_threshold=options.confidence_threshold,
        options=options.deciding(),
        sessions=headers,
        fingerprint=fingerprint(*parts),
        with_params=any(params is not None for params in known),
        with_masks=any(hasattr(plan.session, 'masks') for plan in plans),
    )


def _report(
    plans: Sequence[SessionPlan], sessions: Sequence[Session], names: tuple[str, ...], header: StoreHeader
) -> dict[str, Any]:
    by_session = {}
    for plan, session in zip(plans, sessions):
        extra = {'names_not_in_model': sorted(set(session.keypoint_names) - set(names))}
        extra |= {'names_not_annotated': sorted(set(names) - set(plan.names))}
        own = getattr(session, 'report', None)
        by_session[session.name] = plan.counts | extra | ({'reader': own} if own else {})
    totals: dict[str, int] = {}
    for plan in plans:
        for key, value in plan.counts.items():
            if isinstance(value, int):
                totals[key] = totals.get(key, 0) + value
    return {
        'sessions': by_session,
        'totals': totals,
        'cameras': list(header.camera_names),
        'keypoints': list(names),
    }


class _ProgressBar:
    """A progress bar with the time left, where one is wanted."""

    def __init__(self, wanted: bool, total: int, done: int) -> None:
        self._bar: Any = None
        if wanted:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn('preprocessing'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            )
            self._task = self._bar.add_task('preprocessing', total=total, completed=done)

    def __enter__(self) -> Callable[[], None]:
        if self._bar is None:
            return lambda: None
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()
