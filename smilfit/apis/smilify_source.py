"""Read SMILify's dataset files for preprocessing."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from smilfit.apis.data_source import DataSource, options_from
from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import CROP_MODES, PreprocessOptions, StoredSession
from smilfit.datasets.shape_agreement import shape_agreement
from smilfit.datasets.smilify import SmilifyFile, common_unit, read_smilify, sessions_of
from smilfit.datasets.smilify.joint_order import mixed_lookup
from smilfit.datasets.smilify.session import SmilifySession
from smilfit.io import check_lookup, read_joint_lookup
from smilfit.io.slp_files import read_node_orders

logger = logging.getLogger('smilfit')


def read_smilify_files(
    source: DataSource, body: BodyModelData, options: Mapping[str, Any] | None
) -> tuple[list[StoredSession], PreprocessOptions, dict[str, np.ndarray]]:
    """Open the sessions of all files.

    Args:
        source: the files.
        body: the body model whose keypoints the lookup names.
        options: fields of `PreprocessOptions` by name.

    Returns:
        The sessions, the options with the side and cut of the stored images, and known shapes by session.

    Raises:
        ValueError: files of different joints, kinds or units, or labels that lie on other joints.
        BadFileError: a file that is none of SMILify's, or that breaks a rule.
    """
    made_with = body if source.made_with is None else load_body_model_data(source.made_with)
    lookup = _lookup(source, body, made_with)
    files = [read_smilify(path) for path in source.paths]
    _check_kinds(files)
    unit, factors = common_unit(files, source.unit)
    sessions: list[StoredSession] = []
    betas: dict[str, np.ndarray] = {}
    for file in files:
        found = sessions_of(
            file,
            made_with.joint_names,
            lookup,
            unit,
            factors[file.path],
            source.source_size,
            source.focal_px,
            body if made_with is body else None,
        )
        if not source.allow_other_joints:
            for session in found:
                _check_joints(file, session, body)
        taken = {session.name for session in sessions}
        for session in found:
            own = session.name
            if own in taken:
                # Files of one recording, made with other options, name their sessions alike.
                session.name = f'{file.path.stem}/{own}'
            if own in file.betas and len(file.betas[own]) == body.n_betas:
                betas[session.name] = file.betas[own]
        sessions += found
        _tell_betas(file, body)
    chosen = dict(options or {})
    single = files[0].single is not None
    sides = max(file.side for file in files)
    modes = {file.crop_mode for file in files}
    mode = modes.pop() if len(modes) == 1 else ''
    settled = options_from(
        chosen | {'crop_mode': mode if mode in CROP_MODES else 'default'},
        target_resolution=chosen.get('target_resolution') or sides,
    )
    return sessions, replace(settled, min_views=1) if single else settled, betas


def clicked_joints(session: StoredSession) -> tuple[str, ...]:
    """Name the joints near which people put labels; of rendered animals and single images they are exact."""
    several = isinstance(session, SmilifySession)
    return tuple(session.keypoint_names) if several and session.poses is None else ()


def _lookup(source: DataSource, body: BodyModelData, made_with: BodyModelData) -> dict[str, str] | None:
    """Read which joint of the files each keypoint of the body is; None where they are the same."""
    if not source.keypoint_map:
        if source.slp is not None:
            raise ValueError(
                'preprocess smilify: --slp must come with --keypoint-map, the table (model,data) of SLEAP nodes '
                'that the file was made with; got none.'
            )
        return None
    lookup = read_joint_lookup(source.keypoint_map)
    where, names = str(source.keypoint_map), keypoint_definitions(body)
    if source.slp is None:
        check_lookup(lookup, model_names=names, data_names=made_with.joint_names, where=where)
        return lookup
    numbered, in_skeleton = read_node_orders(source.slp)
    check_lookup(lookup, model_names=names, data_names=numbered, where=where)
    return mixed_lookup(lookup, numbered, in_skeleton)


def _check_joints(file: SmilifyFile, session: StoredSession, body: BodyModelData) -> None:
    """Refuse labels whose 3D points have not the body's shape.

    Raises:
        ValueError: they agree with the body no better than with joints drawn at random.
    """
    seen = session.keypoints3d()
    names = [name for name in session.keypoint_names if name in set(body.joint_names)]
    if seen is None or not names:
        return
    seen = seen.select(names)
    rest = np.asarray(body.joints)[[body.joint_names.index(name) for name in names]]
    found = shape_agreement(seen.xyz.numpy(), seen.visible.numpy(), rest)
    if found is None:
        return
    session.report['shape_agreement'] = round(found.correlation, 3)
    if found.is_chance:
        raise ValueError(
            f'{file.path}: labels of session {session.name} must lie on the joints that they are named after; '
            f'distances between its 3D points correlate with those of {body.name} by {found.correlation:.2f}, and '
            f'joints drawn at random reach {found.chance:.2f}. Files that SMILify made before March 2026 have '
            'labels on other joints (it mixed up the orders of SLEAP nodes): give the .slp of camera '
            f'{file.first_camera} with --slp and the lookup that the file was made with (columns model,data: joint, '
            'SLEAP node) with --keypoint-map. Is it another body model instead, give that. To import the labels as '
            'they are: --allow-other-joints.'
        )


def _check_kinds(files: list[SmilifyFile]) -> None:
    kinds = {str(file.path): 'single images' if file.single else 'several views' for file in files}
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f'preprocess smilify: files must all be of several views, or all of single images; got {kinds}. Import '
            'them one by one.'
        )


def _tell_betas(file: SmilifyFile, body: BodyModelData) -> None:
    others = [name for name, value in file.betas.items() if len(value) != body.n_betas]
    if others:
        logger.warning(
            '%s: known shapes of %s are left out: the body model has %d shape coefficients.',
            file.path,
            ', '.join(others),
            body.n_betas,
        )
