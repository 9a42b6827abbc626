"""What a model file says, as numpy arrays: the one form between all files and the nn.Module."""

import hashlib
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Any

import numpy as np

from smilfit.body_models.shape_mixture import ShapeMixture

KeypointDefinition = str | dict[int, float]
# Younger than the first files: where a model has none, its hash stays what it was before they existed.
_HASHED_WHERE_PRESENT = (
    'expressiondirs',
    'pose_spaces',
    'keypoint_groups',
    'shape_mixture',
    'landmarks',
    'part_sizes',
    'joint_axes',
    'log_scale_directions',
)


@dataclass(frozen=True)
class SparseMatrix:
    """A sparse matrix as its non-zero entries (coordinate form, no entry twice)."""

    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def from_dense(cls, dense: np.ndarray) -> 'SparseMatrix':
        """Keep the non-zero entries of a matrix."""
        rows, cols = np.nonzero(dense)
        return cls(rows, cols, np.asarray(dense[rows, cols], dtype=np.float64), dense.shape)

    def to_dense(self) -> np.ndarray:
        """Write out all entries, float64."""
        dense = np.zeros(self.shape)
        np.add.at(dense, (self.rows, self.cols), self.values)
        return dense

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        product = np.zeros((self.shape[0], *other.shape[1:]))
        extra = (1,) * (other.ndim - 1)
        np.add.at(product, self.rows, self.values.reshape(-1, *extra) * other[self.cols])
        return product


@dataclass(frozen=True)
class PoseSpace:
    """A space of few coefficients for the poses of n joints: `axis_angles = mean + coefficients @ components`."""

    joints: tuple[str, ...]
    mean: np.ndarray  # (3 n,) rad
    components: np.ndarray  # (C, 3 n) rad


@dataclass(frozen=True)
class Landmark:
    """A keypoint at an anchor of the body, moved by an offset in a bone's frame.

    Its place in the world is `anchor + scale * R_bone (offset + unknown)`. The unknown part is found with the fit: it
    is a row of the parameter `landmark_offsets`, one for each landmark whose `sd` is positive, in the model's order.

    Args:
        anchor: a joint's name, or vertices and their weights, which sum to 1.
        bone: the joint in whose frame the offset is given.
        offset: where it is expected, model unit.
        sd: standard deviation of the unknown part a direction, model unit; 0 where the offset is known.
    """

    anchor: str | dict[int, float]
    bone: str
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sd: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it, which `smil_json_parts.landmarks` reads."""
        return {
            'anchor': keypoint_record(self.anchor),
            'bone': self.bone,
            'offset': [float(x) for x in self.offset],
            'sd': float(self.sd),
        }


def keypoint_record(definition: str | dict[int, float]) -> Any:
    """Return a joint's name, or vertices and their weights, as JSON has them."""
    if isinstance(definition, str):
        return definition
    return {'vertices': list(definition), 'weights': list(definition.values())}


@dataclass(frozen=True)
class PartSize:
    """A part of the body that may be larger or smaller than the model's.

    Args:
        joints: of both sides; their skin and the bones that go out from them are the part.
        sd: standard deviation of the size, a share.
        limit: beyond which a size, up or down, is punished, a share.
    """

    joints: tuple[str, ...]
    sd: float = 0.1
    limit: float = 0.3


@dataclass(frozen=True)
class BodyModelData:
    """A rigged animal: V vertices, F triangles, J joints, S shape and E expression coefficients.

    Lengths are in the model's unit. `joint_regressor` gives rest joints from rest vertices; where it is None
    the joints are static: `joints` holds and shape does not move them. `parents[0] == -1` and
    `parents[j] < j`. `joint_limits` are the least and greatest axis-angle components, rad, along the columns of
    `joint_axes`: each joint's own axes in those of the model, a rotation; None for the model's own. Expression moves
    vertices, and the joints by the regressor, as shape does, but changes from frame to frame. A group of
    `joint_groups` names joints; `keypoint_groups` adds keypoints that are no joints to a group of that name.
    `part_sizes` are the parts whose sizes a fit may change; where there are none, `default_part_sizes` gives some.
    """

    name: str
    v_template: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3)
    joint_names: tuple[str, ...]
    parents: np.ndarray  # (J,)
    weights: SparseMatrix  # (V, J), rows sum to 1
    joints: np.ndarray  # (J, 3) rest joints of the mean shape
    joint_regressor: SparseMatrix | None = None  # (J, V)
    shapedirs: np.ndarray | None = None  # (V, 3, S)
    shape_mean: np.ndarray | None = None  # (S,)
    shape_cov: np.ndarray | None = None  # (S, S)
    shape_mixture: ShapeMixture | None = None  # kinds of animals in this shape space
    expressiondirs: np.ndarray | None = None  # (V, 3, E)
    scaledirs: np.ndarray | None = None  # (S, J, 3)
    log_scale_directions: bool = (
        False  # whether scaledirs add to logarithms of joint scales, not to the scales
    )
    transdirs: np.ndarray | None = None  # (S, J, 3)
    posedirs: np.ndarray | None = None  # (9 (J-1), 3 V), smplx's layout
    joint_scale_mode: str = 'local'
    joint_limits: np.ndarray | None = None  # (J, 3, 2) rad
    joint_axes: np.ndarray | None = None  # (J, 3, 3)
    joint_limits_from: tuple[str, ...] = ()  # of each joint, one of `LIMIT_ORIGINS`; () where it is not known
    joint_symmetry: tuple[tuple[str, str], ...] = ()
    symmetry_plane_vertices: np.ndarray | None = None  # (n,)
    joint_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    keypoint_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    keypoint_sets: dict[str, dict[str, KeypointDefinition]] = field(default_factory=dict)
    landmarks: dict[str, Landmark] = field(default_factory=dict)
    part_sizes: dict[str, PartSize] = field(default_factory=dict)
    pose_spaces: dict[str, PoseSpace] = field(default_factory=dict)
    pose_prior_mean: np.ndarray | None = None  # (3 (J-1),) rad
    pose_prior_precision: np.ndarray | None = None  # (3 (J-1), 3 (J-1)) rad^-2
    unit: str | None = None
    up_axis: str | None = None
    forward_axis: str | None = None
    licence: str | None = None
    version: str | None = None

    @property
    def n_vertices(self) -> int:
        """V."""
        return len(self.v_template)

    @property
    def n_joints(self) -> int:
        """J."""
        return len(self.joint_names)

    @property
    def n_betas(self) -> int:
        """S."""
        return 0 if self.shapedirs is None else self.shapedirs.shape[2]

    @property
    def n_expression(self) -> int:
        """E."""
        return 0 if self.expressiondirs is None else self.expressiondirs.shape[2]

    @property
    def rest_size(self) -> float:
        """The longest side of the rest joints' box, model unit: what the body's length is measured by.

        Of the mesh's, where all joints are at one place.
        """
        size = float((self.joints.max(0) - self.joints.min(0)).max())
        return size if size > 0 else float(np.ptp(self.v_template, axis=0).max())

    @property
    def unknown_landmarks(self) -> tuple[str, ...]:
        """Landmarks whose offset is not known, in the order of `landmark_offsets`."""
        return tuple(name for name, mark in self.landmarks.items() if mark.sd > 0)

    @property
    def static_joints(self) -> bool:
        """Whether shape leaves the joints where they are."""
        return self.joint_regressor is None

    def landmark_records(self) -> dict[str, dict[str, Any]]:
        """Return the landmarks as JSON has them."""
        return {name: mark.record() for name, mark in self.landmarks.items()}

    def hash_without_landmarks(self) -> str:
        """Hash the model as `content_hash` does, whatever landmarks a session has added to it."""
        return replace(self, landmarks={}).content_hash()

    def content_hash(self) -> str:
        """Hash what decides the geometry and the names (sha256, 16 hex digits); not whence they are, as a licence.

        Numbers are rounded to float32 first, so a file and its copy in another format agree.
        """
        digest = hashlib.sha256()
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ('name', 'licence', 'version', 'joint_limits_from'):
                continue
            if f.name in _HASHED_WHERE_PRESENT and (
                value is None or value is False or (isinstance(value, dict) and not value)
            ):
                continue
            digest.update(f.name.encode())
            _feed(digest, value)
        return digest.hexdigest()[:16]


def _feed(digest: 'hashlib._Hash', value: object) -> None:
    if isinstance(value, SparseMatrix):
        order = np.lexsort((value.cols, value.rows))
        for array in (value.rows[order], value.cols[order], value.values[order]):
            _feed(digest, array)
    elif isinstance(value, (Landmark, PartSize)):
        _feed(digest, astuple(value))
    elif isinstance(value, PoseSpace):
        _feed(digest, (*value.joints, value.mean, value.components))
    elif isinstance(value, ShapeMixture):
        _feed(digest, (*value.names, value.weights, value.means, value.covs))
    elif isinstance(value, np.ndarray):
        integer = np.issubdtype(value.dtype, np.integer)
        # + 0 turns -0.0 into 0.0, which files need not tell apart.
        array = np.ascontiguousarray(value, dtype=np.int64 if integer else np.float32) + 0
        digest.update(str(array.shape).encode())
        digest.update(array.tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, (tuple, list)):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, float):
        digest.update(np.float32(value).tobytes())
    else:
        digest.update(repr(value).encode())
