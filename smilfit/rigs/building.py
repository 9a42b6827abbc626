"""Make a body model of a rig: one tree, clean weights, left and right, limits, unit; with a report."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, Landmark, SparseMatrix
from smilfit.body_models.joint_limits import (
    CLIPS,
    DEFAULT,
    FILE,
    LOCKED,
    USER,
    default_joint_limits,
    origins_in_words,
)
from smilfit.files import BadFileError
from smilfit.rigs.cleaning import WITHOUT_WEIGHTS, Cleaned, clean_mesh, seam_vertices
from smilfit.rigs.clip_poses import ClipPoses, clip_poses
from smilfit.rigs.limits import limits_of_clips, locked, read_limits, with_other_side
from smilfit.rigs.read_rig import Rig
from smilfit.rigs.suspicions import facing, suspected_joints, suspected_unit, suspected_weights
from smilfit.rigs.symmetry import Symmetry, find_symmetry
from smilfit.rigs.trees import BodyTree, body_tree, end_joints

_DEFAULT = 'none in the file: 90 degrees in limbs and 45 on the midline about every axis'
# What animators call the handles by which they pull a skeleton.
_CONTROL = re.compile(r'(?<![a-z])ik(?![a-z])|pole|target|ctrl|control|helper', re.IGNORECASE)
LIMITS = ('auto', 'file', 'clips', 'default')
# A centipede has some hundred; what is done with pairs of joints takes seconds of so many.
MOST_JOINTS = 6000


@dataclass(frozen=True)
class ImportReport:
    """What was found in a rig and what was done to it.

    `joined` are other roots, which now hang below `root`. `limits` says where the joint limits come from,
    `unit_source` where the unit does. `suspected` says what is doubtful, `notes` what was done; `unfitted` are joints
    that fits leave at rest, by the reason.
    """

    rig: str
    counts: Mapping[str, int]
    cleaned: Mapping[str, int]
    size: float
    unit: str | None
    unit_source: str
    symmetry: Symmetry
    limits: str
    root: str
    unfitted: Mapping[str, tuple[str, ...]]
    joined: tuple[str, ...] = ()
    clips: tuple[ClipPoses, ...] = ()
    suspected: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def build_model(
    rig: Rig, unit: str | None = None, limits: str | Path = 'auto', name: str | None = None
) -> tuple[BodyModelData, ImportReport]:
    """Make a body model of a rig.

    Joints are static where a rig has no regressor: it states where they are, and its morph targets, which become
    shape directions, move skin alone, in its own player too. A regressor made up here would move joints that the file
    does not move.

    Args:
        rig: as its reader gave it.
        unit: of its numbers; the file's or its format's if None.
        limits: 'file'; 'clips' for the ranges that clips use, with a margin; 'default' for those that models without
            limits get; 'auto' for the file's where it has some, else the default; or a table (see `read_limits`),
            over the 'auto' ones.
        name: of the model; the rig's if None.

    Returns:
        The model, and what was done.

    Raises:
        ValueError: a rig of which no model can be made: no triangles, a loop of joints, limits it does not have.
    """
    _check_rig(rig)
    rest = rig.rest[:, :3, 3]
    cleaned = clean_mesh(rig.vertices, rig.faces, rig.weights, rest)
    if not len(cleaned.faces):
        raise ValueError(f'{rig.name}: a mesh must have triangles of some area; got none. Export its faces.')
    influence = np.bincount(cleaned.weights.cols, cleaned.weights.values, len(rest))
    carried = influence.copy()
    for site in rig.sites.values():
        carried[rig.joint_names.index(site.joint)] += 1
    tree = body_tree(rig.parents, carried)
    order = list(tree.order)
    symmetry = find_symmetry(rig.vertices, tuple(rig.joint_names[j] for j in order), rest[order])
    clips = model_clips(rig, tree)
    data = _at_rest(rig, cleaned, tree, symmetry)
    data = replace(data, name=name or rig.name, unit=unit or rig.unit)
    result, origins, source = _limits(rig, data, tree, clips, limits)
    origins = tuple(origin if fitted else LOCKED for origin, fitted in zip(origins, tree.fitted))
    data = replace(data, joint_limits=locked(result, tree.fitted), joint_limits_from=origins)
    if rig.axes is not None and source != _DEFAULT and limits != 'clips':
        data = replace(data, joint_axes=rig.axes[order])
    faced = facing(data)
    data = replace(data, forward_axis=faced.forward_axis)
    check_body_model(data, rig.name)
    size = float(np.ptp(rig.vertices, axis=0).max())
    suspicions = (
        suspected_unit(size, data.unit, rig.name),
        suspected_joints(data, tree.fitted),
        suspected_weights(cleaned.counts[WITHOUT_WEIGHTS], data.n_vertices),
        faced.suspected,
    )
    report = ImportReport(
        rig=rig.name,
        counts=_counts(rig, data, clips),
        cleaned={what: n for what, n in cleaned.counts.items() if n},
        size=size,
        unit=data.unit,
        unit_source='as given' if unit else 'by the format' if rig.unit else 'not known',
        symmetry=symmetry,
        limits=source,
        root=data.joint_names[0],
        unfitted=_unfitted(rig, tree, carried),
        joined=tuple(rig.joint_names[j] for j in tree.joined),
        clips=clips,
        suspected=tuple(filter(None, suspicions)),
        notes=(*rig.notes, *filter(None, [faced.note])),
    )
    return data, report


def _at_rest(rig: Rig, cleaned: Cleaned, tree: BodyTree, symmetry: Symmetry) -> BodyModelData:
    """Return the model as the rig stands, joints in order, without limits and axes."""
    order = list(tree.order)
    return BodyModelData(
        name=rig.name,
        v_template=rig.vertices,
        faces=cleaned.faces,
        joint_names=tuple(rig.joint_names[j] for j in order),
        parents=np.array(tree.parents),
        weights=_reordered(cleaned.weights, order),
        joints=rig.rest[order, :3, 3],
        shapedirs=np.stack(list(rig.morphs.values()), -1) if rig.morphs else None,
        joint_symmetry=symmetry.pairs,
        symmetry_plane_vertices=symmetry.plane_vertices,
        joint_regressor=_regressor(rig, order),
        landmarks={n: Landmark(s.joint, s.joint, _three(s.offset), s.sd) for n, s in rig.sites.items()},
        unit=rig.unit,
        up_axis=rig.up_axis,
        forward_axis=rig.forward_axis,
        licence=rig.licence,
    )


@contextmanager
def naming_file(path: str | Path, rig: Rig) -> Iterator[None]:
    """Build inside this context: what is wrong with a rig is then told of its file, whatever the rig is called.

    Raises:
        BadFileError: in place of a ValueError that begins with the rig's name.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        if not message.startswith(f'{rig.name}: '):
            raise
        raise BadFileError(f'{path}: {message.removeprefix(f"{rig.name}: ")}') from error


def model_clips(rig: Rig, tree: BodyTree) -> tuple[ClipPoses, ...]:
    """Turn a rig's clips into poses of the model whose joints stand as in the tree."""
    order = list(tree.order)
    back, rest = np.linalg.inv(rig.rest[order]), rig.rest[order][:, :3, 3]
    return tuple(
        clip_poses(
            clip.name, clip.times_s, clip.joints[:, order] @ back, rest, tree.parents, clip.morph_weights
        )
        for clip in rig.clips
    )


def _check_rig(rig: Rig) -> None:
    count, joints = len(rig.vertices), len(rig.joint_names)
    if not count or not joints or not len(rig.faces):
        got = f'{count} vertices, {len(rig.faces)} triangles and {joints} joints'
        raise ValueError(f'{rig.name}: a rig must have a mesh and joints; got {got}. Export both together.')
    if joints > MOST_JOINTS:
        raise ValueError(
            f'{rig.name}: a rig must have at most {MOST_JOINTS} joints; got {joints}. Is each of them a bone? Export '
            'the skeleton alone.'
        )
    if not np.isfinite(rig.vertices).all() or not np.isfinite(rig.rest).all():
        raise ValueError(
            f'{rig.name}: places of vertices and joints must be finite; some are not. Mend the rig.'
        )
    if np.ptp(rig.vertices, axis=0).max() <= 0:
        raise ValueError(f'{rig.name}: a mesh must have an extent; got one point. Export the mesh anew.')


def _regressor(rig: Rig, order: list[int]) -> SparseMatrix | None:
    """Return the regressor's rows the model's order."""
    if rig.joint_regressor is None:
        return None
    rank, given = np.argsort(order), rig.joint_regressor
    return SparseMatrix(rank[given.rows], given.cols, given.values, given.shape)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = map(float, values)
    return x, y, z


def _reordered(weights: SparseMatrix, order: list[int]) -> SparseMatrix:
    rank = np.argsort(order)
    return SparseMatrix(weights.rows, rank[weights.cols], weights.values, weights.shape)


def _limits(
    rig: Rig, data: BodyModelData, tree: BodyTree, clips: tuple[ClipPoses, ...], wanted: str | Path
) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Return limits (J, 3, 2), where each joint's are from, and that in words."""
    stated = None if rig.limits_rad is None else rig.limits_rad[list(tree.order)]
    if wanted == 'clips':
        if not clips:
            raise ValueError(
                f'{rig.name}: limits from clips must have clips; the rig has none. Leave --limits out.'
            )
        n_frames = sum(map(len, clips))
        words = (
            f'ranges that {len(clips)} clips use ({n_frames} frames), of both sides the wider, and 15 degrees'
        )
        used = limits_of_clips([clip.arrays['body_pose'] for clip in clips])
        return with_other_side(used, data), (CLIPS,) * data.n_joints, words
    if wanted == 'file' and stated is None:
        raise ValueError(f'{rig.name}: limits of the file were asked for; it has none. Leave --limits out.')
    if stated is not None and wanted in ('auto', 'file'):
        return stated, (FILE,) * data.n_joints, 'as the file states them'
    default = default_joint_limits(data)
    if wanted in ('auto', 'default'):
        return default, (DEFAULT,) * data.n_joints, _DEFAULT
    base, rest = (default, DEFAULT) if stated is None else (stated, FILE)
    table = read_limits(wanted, data.joint_names, base)
    origins = tuple(USER if name in table.joints else rest for name in data.joint_names)
    return table.limits, origins, f'by {Path(wanted).name}: {origins_in_words(origins)}'


def _counts(rig: Rig, data: BodyModelData, clips: tuple[ClipPoses, ...]) -> dict[str, int]:
    per_vertex = np.bincount(data.weights.rows, minlength=data.n_vertices)
    return {
        'vertices': data.n_vertices,
        'triangles': len(data.faces),
        'joints': data.n_joints,
        'shape directions': data.n_betas,
        'clips': len(clips),
        'keypoints': len(data.landmarks),
        'most joints of a vertex': int(per_vertex.max()),
        'vertices on the place of another': seam_vertices(rig.vertices),
    }


def _unfitted(rig: Rig, tree: BodyTree, carried: np.ndarray) -> dict[str, tuple[str, ...]]:
    """Name the joints that fits leave alone, by what they are."""
    ends = end_joints(rig.parents, carried)
    result: dict[str, list[str]] = {}
    for j, fitted in zip(tree.order, tree.fitted):
        if fitted:
            continue
        reason = 'helpers that move no skin'
        if j in tree.above:
            reason = 'above the root'
        elif ends[j] and j not in tree.joined and not _CONTROL.search(rig.joint_names[j]):
            reason = 'ends of bones'
        result.setdefault(reason, []).append(rig.joint_names[j])
    return {reason: tuple(names) for reason, names in result.items()}
