"""Gather what a dataset file states once, from the plans of its sessions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models import BodyModelData, reference_to
from smilfit.body_models.files.smil_json import landmarks_out
from smilfit.datasets.session_plan import SessionPlan
from smilfit.datasets.store.known_params import KnownParams
from smilfit.datasets.store.store_layout import SessionHeader, StoreHeader, fingerprint
from smilfit.options.preprocess_options import PreprocessOptions
from smilfit.structures import ModelReference


def make_header(
    plans: Sequence[SessionPlan],
    names: tuple[str, ...],
    body: BodyModelData,
    options: PreprocessOptions,
    body_model_file: str,
    betas: Mapping[str, np.ndarray],
    known: Sequence[KnownParams | None],
    folder: Path | None = None,
) -> StoreHeader:
    """Gather what is stored once, and hash all that the file depends on.

    Args:
        plans: one a session.
        names: keypoints of the file, in order.
        body: the body model.
        options: how images are stored.
        body_model_file: where the body model came from.
        betas: known shapes by session name.
        known: parameters that the sessions know, one a plan.
        folder: of the dataset file, from which sessions are found again wherever both are moved to.
    """
    headers = tuple(
        SessionHeader(
            name=plan.session.name,
            cameras=plan.cameras,
            has_images=plan.has_images,
            unit=plan.session.unit,
            fps=plan.session.fps,
            source=_source_of(plan.session),
            recording=_recording_of(plan.session, folder),
            betas=betas.get(plan.session.name),
            images=plan.images,
            camera_report=plan.camera_report,
        )
        for plan in plans
    )
    return StoreHeader(
        body_model_file=body_model_file,
        body_model_hash=body.hash_without_landmarks(),
        keypoint_names=names,
        joint_names=tuple(body.joint_names),
        n_betas=body.n_betas,
        camera_names=tuple(dict.fromkeys(n for plan in plans for n in plan.cameras.names)),
        crop_mode=options.crop_mode,
        target_resolution=options.target_resolution,
        undistorted=not options.no_undistort,
        # Of several kinds of labels the largest; the report has each.
        confidence_threshold=max(
            (row['confidence_threshold'] for plan in plans for row in plan.counts['cameras'].values()),
            default=0.0,
        ),
        options=options.deciding(),
        sessions=headers,
        fingerprint=fingerprint(*_decisive(plans, headers, names, body, options, known)),
        with_params=any(params is not None for params in known),
        landmarks=body.landmarks,
        body_model=_reference(body, body_model_file, folder),
        with_masks=any(_has_masks(plan.session) for plan in plans),
        n_centres=max((plan.centres.xy.shape[2] for plan in plans if plan.centres is not None), default=0),
    )


def _reference(body: BodyModelData, given: str, folder: Path | None) -> ModelReference:
    """Name the body model; a path that leads nowhere from here may be meant from the file's folder."""
    beside = None if folder is None or not given else folder / given
    if beside is not None and not Path(given).is_absolute() and beside.is_file():
        return replace(reference_to(body, beside, folder), given=given)
    return reference_to(body, given, folder)


def _decisive(
    plans: Sequence[SessionPlan],
    headers: Sequence[SessionHeader],
    names: tuple[str, ...],
    body: BodyModelData,
    options: PreprocessOptions,
    known: Sequence[KnownParams | None],
) -> list[object]:
    """Gather all that the file depends on; what only some files have comes in only there, so that the others'
    fingerprints stay what they were."""
    parts: list[object] = [body.hash_without_landmarks(), options.deciding(), names]
    for plan, header in zip(plans, headers):
        parts += _of_session(plan, header)
    for plan in plans:
        parts += plan.deciding()
    for plan in plans:
        if plan.centres is not None:
            parts += [plan.centres.xy, plan.centres.known, plan.centres.complete]
    parts += [value for params in known if params for value in params.values.values()]
    parts += [params.known for params in known if params and not params.known.all()]
    return parts + ([landmarks_out(body.landmarks)] if body.landmarks else [])


def _of_session(plan: SessionPlan, header: SessionHeader) -> list[object]:
    cameras = plan.cameras
    parts: list[object] = [header.name, header.unit, header.fps, cameras.names]
    parts += [plan.names, plan.frames, plan.view_mask]
    lenses = (getattr(cameras, n) for n in ('K', 'R', 't', 'size', 'dist'))
    parts += [lens.numpy() for lens in lenses if lens is not None]
    parts += [plan.keypoints2d, plan.confidence2d, plan.keypoints3d, plan.confidence3d]
    parts.append(None if header.betas is None else np.asarray(header.betas))
    if not header.has_images:
        parts.append(plan.numbers)
    if plan.images is not None:
        parts += [plan.numbers, plan.boxes, plan.images.labels, plan.images.intrinsics_known]
        parts.append(plan.images.temporal)
    return parts


def _source_of(session: object) -> str:
    """Return where a session lies, wherever the file is read from."""
    folder = getattr(session, 'folder', None) or getattr(session, 'path', '')
    return str(Path(folder).resolve()) if folder else ''


def _recording_of(session: object, folder: Path | None) -> dict[str, object]:
    """Return how a session is opened again; {} of what is not recorded."""
    place = getattr(session, 'place', None)
    if place is None:
        return {}
    result = {'kind': place.kind, 'arguments': dict(place.arguments)}
    try:
        relative = None if folder is None else os.path.relpath(_source_of(session), folder.resolve())
    except ValueError:
        # On another drive.
        relative = None
    return result if relative is None else result | {'relative': Path(relative).as_posix()}


def _has_masks(session: object) -> bool:
    return getattr(session, 'has_masks', hasattr(session, 'masks'))
