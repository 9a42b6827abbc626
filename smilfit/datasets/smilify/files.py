"""Open SMILify's dataset files of any kind as sessions for preprocessing."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.datasets.hdf5_handle import open_hdf5
from smilfit.datasets.smilify.images import ImageReader
from smilfit.datasets.smilify.poses import known_poses
from smilfit.datasets.smilify.samples import SampleTables, read_samples
from smilfit.datasets.smilify.schema import (
    PARAMETERS,
    WHAT,
    SmilifyFacts,
    is_multi_view,
    is_single_view,
    read_smilify_facts,
    whole_table,
)
from smilfit.datasets.smilify.session import SmilifySession
from smilfit.datasets.smilify.single_schema import SingleViewTables, read_single_views
from smilfit.datasets.smilify.single_views import SmilifyImages
from smilfit.datasets.smilify.units import MILLIMETRES, animal_extent, unit_by_size
from smilfit.datasets.stored_values import check_finite
from smilfit.datasets.stored_views import StoredSession
from smilfit.files import BadFileError, reading
from smilfit.files.hdf5 import check_hdf5

logger = logging.getLogger('smilfit')


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
        found = [animal_extent(t.points, t.has_point) for t in self.samples.values()]
        known = [value for value in found if value is not None]
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
    """Give a file's sessions.

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
        _tell(session)
        made.append(session)
    return made


def _tell(session: SmilifySession) -> None:
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
    sessions, found = np.array(facts.sessions, dtype=object), {}
    for name in dict.fromkeys(facts.sessions):
        rows = betas[known & (sessions == name)]
        if len(rows) and np.abs(rows - rows[0]).max(initial=0.0) < 1e-6:
            found[name] = rows[0]
    return found


def common_unit(files: Sequence[SmilifyFile], unit: str | None) -> tuple[str | None, dict[Path, float]]:
    """Choose the unit of several files' sessions, and each file's factor to it.

    Args:
        files: what was read.
        unit: what the user says their lengths are in; it stands over the evidence.
    """
    units = {file.path: unit or file.unit for file in files if file.single is None}
    for file in files:
        if file.single is None and unit is None:
            _tell_unit(file)
    known = set(units.values())
    if len(known) <= 1:
        return next(iter(known), None), dict.fromkeys((f.path for f in files), 1.0)
    if None in known:
        raise ValueError(
            f'the files must have one unit; got { {str(p): u for p, u in units.items()} }. Import them one by one, '
            'or say with --unit what all their lengths are in.'
        )
    return 'mm', {f.path: _millimetres(units.get(f.path)) for f in files}


def _tell_unit(file: SmilifyFile) -> None:
    size = 'no 3D points' if file.extent is None else f'animals of {file.extent:.4g} units'
    if file.unit is None:
        logger.warning('%s: states no unit, and its %s do not tell one. Give --unit.', file.path, size)
    else:
        logger.warning(
            '%s: states no unit; its %s speak for %s (--unit says otherwise).', file.path, size, file.unit
        )


def _millimetres(unit: str | None) -> float:
    return 1.0 if unit is None else MILLIMETRES[unit]
