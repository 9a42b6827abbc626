"""Read SMILify's dataset files of any kind for preprocessing."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Bool, Float

from smilfit.apis.preprocessing.data_source import DataSource, options_from
from smilfit.body_models import BodyModelData, load_body_model_data
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.datasets import CROP_MODES, PreprocessOptions, StoredSession
from smilfit.datasets.store.hdf5_handle import open_hdf5
from smilfit.datasets.store.shape_agreement import shape_agreement
from smilfit.datasets.store.stored_values import check_finite
from smilfit.files import BadFileError, reading
from smilfit.files.hdf5 import check_hdf5
from smilfit.io import check_lookup, read_joint_lookup
from smilfit.io.recordings.sleap_labels import read_node_orders
from smilfit.smilify.samples import SampleTables, known_poses, read_samples
from smilfit.smilify.schema import (
    PARAMETERS,
    WHAT,
    SingleViewTables,
    SmilifyFacts,
    is_multi_view,
    is_single_view,
    read_single_views,
    read_smilify_facts,
    whole_table,
)
from smilfit.smilify.stored_sessions import ImageReader, SmilifyImages, SmilifySession

logger = logging.getLogger('smilfit')

MILLIMETRES = {'mm': 1.0, 'cm': 10.0, 'm': 1000.0}
# Largest sides of animals: a fruit fly's leg to a horse, mm.
SMALLEST_MM, LARGEST_MM = 1.0, 5000.0


def animal_extent(xyz: Float[np.ndarray, 'n P 3'], known: Bool[np.ndarray, 'n P']) -> float | None:
    """Return the median over samples of the largest side of the box round the known points."""
    rows = known.sum(1) >= 3
    if not rows.any():
        return None
    points = np.where(known[rows][..., None], xyz[rows], np.nan)
    return float(np.median((np.nanmax(points, 1) - np.nanmin(points, 1)).max(-1)))


def unit_by_size(extent: float | None) -> str | None:
    """Choose mm or m, as SMILify's readers do, where only one of them makes an animal; else None."""
    if extent is None:
        return None
    fitting = [unit for unit in ('mm', 'm') if SMALLEST_MM < extent * MILLIMETRES[unit] < LARGEST_MM]
    return fitting[0] if len(fitting) == 1 else None


@dataclass(frozen=True)
class SmilifyFile:
    """What was read of one file; multi-view files have `facts` and `samples`, others `single`."""

    path: Path
    facts: SmilifyFacts | None = None
    samples: Mapping[str, SampleTables] = field(default_factory=dict)
    betas: Mapping[str, np.ndarray] = field(default_factory=dict)
    single: SingleViewTables | None = None

    @property
    def side(self) -> int:
        """Side of the stored images, px."""
        return self.facts.target_resolution if self.facts else self._single().side

    @property
    def crop_mode(self) -> str:
        """How the images were cut, or '' where the file does not say."""
        return self.facts.crop_mode if self.facts else self._single().crop_mode

    @property
    def n_joints(self) -> int:
        """J of the model that the file was made with."""
        return self.facts.n_joints if self.facts else self._single().n_joints

    @property
    def first_camera(self) -> str:
        """The camera that the preprocessor looked at first, whose labels named the keypoints."""
        if self.facts is None or not len(self.facts.slots):
            return ''
        return self.facts.camera_names[int(self.facts.slots[0, self.facts.slots[0] >= 0][0])]

    @property
    def extent(self) -> float | None:
        """How large the animals are in the file's unit; None without 3D points."""
        result = [animal_extent(t.points, t.has_point) for t in self.samples.values()]
        known = [value for value in result if value is not None]
        return float(np.median(known)) if known else None

    @property
    def unit(self) -> str | None:
        """The unit that the animals' size speaks for; None where it could be several, or lengths were matched."""
        matched = self.facts is not None and self.facts.scale_matched
        return None if matched else unit_by_size(self.extent)

    def _single(self) -> SingleViewTables:
        if self.single is None:
            raise ValueError(f'{self.path}: nothing was read of it.')
        return self.single


def read_smilify(path: str | Path) -> SmilifyFile:
    """Look a file through and read all but its images.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: not one of SMILify's, or anything in it that breaks a rule.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        # Before anything is asked of the file: a link may lead to another one.
        check_hdf5(file, path, WHAT)
        with reading(path, WHAT):
            if is_multi_view(file, path):
                facts = read_smilify_facts(file, path)
                samples, betas = read_samples(file, path, facts), read_betas(file, path, facts)
                return SmilifyFile(path, facts, samples, betas)
            if is_single_view(file, path):
                return SmilifyFile(path, single=read_single_views(file, path))
    raise BadFileError(
        f'{path}: the file must be one of SMILify\'s datasets; it has neither "multiview_keypoints" nor "images" '
        'with "keypoints". A file of this project needs no import.'
    )


def sessions_of(
    file: SmilifyFile,
    joint_names: Sequence[str],
    lookup: Mapping[str, str] | None = None,
    unit: str | None = None,
    length_factor: float = 1.0,
    source_size: Sequence[int] | None = None,
    focal_px: float | None = None,
    body: BodyModelData | None = None,
) -> list[StoredSession]:
    """Return a file's sessions.

    Args:
        file: what was read of it.
        joint_names: joints of the model that it was made with, in order.
        lookup: model keypoint -> joint of the file; the joints' own names if None.
        unit: of the sessions' lengths.
        length_factor: from the file's lengths to that unit.
        source_size: width and height of the source images, where the user states them.
        focal_px: of single images.
        body: the model that the file was made with, if the dataset file gets that one: poses are of it.

    Raises:
        ValueError: joints that are not as many as the file's.
        BadFileError: a session whose cameras move, or whose crops are lost.
    """
    if len(joint_names) != file.n_joints:
        raise ValueError(
            f'{file.path}: the body model must be the one that the file was made with, of {file.n_joints} joints; '
            f'got {len(joint_names)}. The file names no joints, it counts them: give that model, or with --made-with '
            'that model beside another body model and a keypoint map.'
        )
    chosen = {name: name for name in joint_names} if lookup is None else dict(lookup)
    if file.single is not None:
        return _image_sessions(file.single, joint_names, chosen, focal_px)
    slots = file.facts.slots.shape[1] if file.facts else 0
    images = ImageReader(
        file.path, [f'multiview_images/image_jpeg_view_{v}' for v in range(slots)], file.side
    )
    made: list[StoredSession] = []
    for name, tables in file.samples.items():
        poses = known_poses(tables, body, length_factor)
        session = SmilifySession(
            name, tables, images, joint_names, chosen, unit, length_factor, source_size, poses
        )
        _warn(session)
        made.append(session)
    return made


def _warn(session: SmilifySession) -> None:
    if session.poses is not None and session.poses.n_misfits:
        logger.warning(
            '%s: poses of %d samples are left out: the body, so posed, is not where their 3D keypoints are, or it is '
            'another body; those of %d samples are taken.',
            session.name,
            session.poses.n_misfits,
            int(session.poses.known.sum()),
        )
    cornered = session.report['visible_labels_at_0_0_taken_as_missing']
    if cornered:
        logger.warning(
            '%s: %d labels lie at exactly (0, 0) and are said to be visible; they are taken as missing.',
            session.name,
            cornered,
        )
    if session.scales_unknown:
        logger.warning(
            '%s: how large the source images of %s were is not to be found in the file. Keypoints and cameras stay '
            'as written there: up to half a stored px right of and below their images. Give --source-size WIDTH '
            'HEIGHT.',
            session.name,
            ', '.join(session.scales_unknown),
        )


def _image_sessions(
    tables: SingleViewTables, joint_names: Sequence[str], lookup: Mapping[str, str], focal_px: float | None
) -> list[StoredSession]:
    images = ImageReader(tables.path, [tables.image_table], tables.side)
    places = {name: j for j, name in enumerate(joint_names)}
    columns = {model: places[joint] for model, joint in lookup.items()}
    names = np.array([f'{s}/{c}' if c else s for s, c in zip(tables.sessions, tables.cameras)], dtype=object)
    logger.warning(
        '%s: its images are single ones, and the file keeps neither their cameras nor where they were cut. Each '
        'gets a camera of its own with %s; nothing can be triangulated. Where the recording is still there, '
        'preprocess that.',
        tables.path,
        'a guessed focal length' if focal_px is None else f'the focal length {focal_px:g} px',
    )
    return [
        SmilifyImages(str(name), tables, np.flatnonzero(names == name), images, columns, focal_px)
        for name in dict.fromkeys(names)
    ]


def read_betas(file: h5py.File, path: Path, facts: SmilifyFacts) -> dict[str, np.ndarray]:
    """Read the known shapes of sessions: those that all samples of a session with known betas share."""
    if 'auxiliary/has_ground_truth_betas' not in file or f'{PARAMETERS}/betas' not in file:
        return {}
    known = whole_table(file['auxiliary'], 'has_ground_truth_betas', path)
    betas = whole_table(file[PARAMETERS], 'betas', path).astype(np.float64)
    check_finite(betas[known], f'{PARAMETERS}/betas', path)
    sessions, result = np.array(facts.sessions, dtype=object), {}
    for name in dict.fromkeys(facts.sessions):
        rows = betas[known & (sessions == name)]
        if len(rows) and np.abs(rows - rows[0]).max(initial=0.0) < 1e-6:
            result[name] = rows[0]
    return result


def common_unit(files: Sequence[SmilifyFile], unit: str | None) -> tuple[str | None, dict[Path, float]]:
    """Choose the unit of several files' sessions, and each file's factor to it.

    Args:
        files: what was read.
        unit: what the user says their lengths are in; it stands over the evidence.
    """
    units = {file.path: unit or file.unit for file in files if file.single is None}
    for file in files:
        if file.single is None and unit is None:
            _report_unit(file)
    known = set(units.values())
    if len(known) <= 1:
        return next(iter(known), None), dict.fromkeys((f.path for f in files), 1.0)
    if None in known:
        raise ValueError(
            f'the files must have one unit; got { {str(p): u for p, u in units.items()} }. Import them one by one, '
            'or say with --unit what all their lengths are in.'
        )
    return 'mm', {f.path: _millimetres(units.get(f.path)) for f in files}


def _report_unit(file: SmilifyFile) -> None:
    size = 'no 3D points' if file.extent is None else f'animals of {file.extent:.4g} units'
    if file.unit is None:
        logger.warning('%s: states no unit, and its %s do not tell one. Give --unit.', file.path, size)
    else:
        logger.warning(
            '%s: states no unit; its %s speak for %s (--unit says otherwise).', file.path, size, file.unit
        )


def _millimetres(unit: str | None) -> float:
    return 1.0 if unit is None else MILLIMETRES[unit]


def mixed_lookup(
    lookup: Mapping[str, str], numbered: Sequence[str], in_skeleton: Sequence[str]
) -> dict[str, str]:
    """Undo the mix-up: model keypoint -> joint of the file whose column has that keypoint's labels.

    Args:
        lookup: model keypoint -> node that the file was made with.
        numbered: nodes by number.
        in_skeleton: nodes in the order of the labels.
    """
    place = {node: k for k, node in enumerate(numbered)}
    holds = {in_skeleton[place[node]]: joint for joint, node in lookup.items() if node in place}
    return {model: holds[node] for model, node in lookup.items() if node in holds}


def read_files(
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
        result = sessions_of(
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
            for session in result:
                _check_joints(file, session, body)
        taken = {session.name for session in sessions}
        for session in result:
            own = session.name
            if own in taken:
                # Files of one recording, made with other options, name their sessions alike.
                session.name = f'{file.path.stem}/{own}'
            if own in file.betas and len(file.betas[own]) == body.n_betas:
                betas[session.name] = file.betas[own]
        sessions += result
        _warn_of_betas(file, body)
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
    clicked = isinstance(session, SmilifySession) and session.poses is None
    return tuple(session.keypoint_names) if clicked else ()


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
    points = session.keypoints3d()
    names = [name for name in session.keypoint_names if name in set(body.joint_names)]
    if points is None or not names:
        return
    points = points.select(names)
    rest = np.asarray(body.joints)[[body.joint_names.index(name) for name in names]]
    result = shape_agreement(points.xyz.numpy(), points.visible.numpy(), rest)
    if result is None:
        return
    session.report['shape_agreement'] = round(result.correlation, 3)
    if result.is_chance:
        raise ValueError(
            f'{file.path}: labels of session {session.name} must lie on the joints that they are named after; '
            f'distances between its 3D points correlate with those of {body.name} by {result.correlation:.2f}, and '
            f'joints drawn at random reach {result.chance:.2f}. Files that SMILify made before March 2026 have '
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


def _warn_of_betas(file: SmilifyFile, body: BodyModelData) -> None:
    others = [name for name, value in file.betas.items() if len(value) != body.n_betas]
    if others:
        logger.warning(
            '%s: known shapes of %s are left out: the body model has %d shape coefficients.',
            file.path,
            ', '.join(others),
            body.n_betas,
        )
