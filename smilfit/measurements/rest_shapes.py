"""Specimens of one model as rows for a shape space: rest vertices, joint scales and joint offsets, put side by side.

A registration says where each vertex is at rest, and by which scales and offsets of joints. What all specimens share
of scales and offsets belongs to the mean shape, which has no scales of its own: so each specimen's are taken from
their mean, and its vertices are those that these differences lead to where its rest vertices are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from smilfit.body_models import SMIL, BodyModelData
from smilfit.geometry.skinning import bone_maps
from smilfit.measurements.registration_file import Registration
from smilfit.structures import BodyParams
from smilfit.structures.units import MILLIMETRES

# Rounds in which joints follow the vertices that are looked for, and how near they must come, shares of the size.
_ROUNDS, _NEAR = 50, 1e-9
# Scales and offsets below this are none.
_NOTHING = 1e-9


@dataclass(frozen=True)
class RestShapes:
    """N specimens in the model's unit and place.

    Args:
        names: of the specimens.
        rest: (N, V, 3) vertices as they stand at rest, scales and offsets included.
        vertices: (N, V, 3) those before scales and offsets.
        log_scales: (N, J, 3), of mean 0.
        offsets: (N, J, 3), of mean 0.
        sizes: centroid sizes (root mean square distance of vertices from their mean) in `unit`, as scanned.
        unit: of the sizes: mm where known.
        per_model_unit: `unit` per model unit, of the mean specimen.
    """

    names: tuple[str, ...]
    rest: Float[np.ndarray, 'N V 3']
    vertices: Float[np.ndarray, 'N V 3']
    log_scales: Float[np.ndarray, 'N J 3']
    offsets: Float[np.ndarray, 'N J 3']
    sizes: Float[np.ndarray, ' N']
    unit: str
    per_model_unit: float

    @property
    def n_vertices(self) -> int:
        """V."""
        return self.rest.shape[1]


def rest_shapes(
    registrations: Sequence[Registration], data: BodyModelData, keep_size: bool = False
) -> RestShapes:
    """Bring specimens to one size and place; they are not turned, for at rest they face as the model does.

    Args:
        registrations: at least three, of the model.
        data: the model. Where its joints are static, specimens stay at their place, or skin would leave the joints.
        keep_size: leave differences of size to the shape space; else each gets the mean size.

    Raises:
        ValueError: fewer than three, two of one name, another model's, or sizes kept of a model of static joints.
    """
    if len(registrations) < 3:
        raise ValueError(
            f'shape space: specimens must be at least 3; got {len(registrations)}. Register more of them.'
        )
    names = tuple(r.name for r in registrations)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(
            f'shape space: names of specimens must differ; got {twice!r} twice. Rename a folder.'
        )
    if keep_size and data.static_joints:
        raise ValueError(
            f'shape space: sizes must be removed of {data.name}, whose joints no shape moves; got --size keep. '
            'Give the model a joint regressor, or remove sizes.'
        )
    rest = np.stack([_standing(r, data) for r in registrations])
    factors, unit = _units(registrations)
    spread = np.sqrt(((rest - rest.mean(1, keepdims=True)) ** 2).sum(-1).mean(1))
    sizes = factors * spread
    wanted = sizes / _mean(factors) if keep_size else np.full(len(rest), _mean(spread))
    by = np.ones(len(rest)) if data.static_joints else wanted / spread
    if not data.static_joints:
        middle = data.v_template.mean(0)
        rest = middle + by[:, None, None] * (rest - rest.mean(1, keepdims=True))
    scales, offsets = (np.stack(rows) for rows in zip(*(r.joint_sizes(data) for r in registrations)))
    scales = _differences(scales)
    offsets = _differences(by[:, None, None] * offsets)
    vertices = rest
    if scales.any() or offsets.any():
        modes = data.joint_scale_mode
        vertices = np.stack([without_scales(data, modes, *row) for row in zip(rest, scales, offsets)])
    return RestShapes(
        names, rest, vertices, scales, offsets, sizes, unit, _mean(factors) * _mean(spread / wanted)
    )


def without_scales(
    data: BodyModelData,
    mode: str,
    rest: Float[np.ndarray, 'V 3'],
    log_scales: Float[np.ndarray, 'J 3'],
    offsets: Float[np.ndarray, 'J 3'],
) -> Float[np.ndarray, 'V 3']:
    """Find the vertices that scales and offsets of joints lead to where some are at rest.

    Each vertex has an affine map, which depends on the joints and these on the vertices: some rounds are needed.

    Raises:
        ValueError: the rounds do not end at one place.
    """
    body = SMIL(replace(data, shapedirs=None, shape_mean=None, shape_cov=None, shape_mixture=None, scaledirs=None,
                        transdirs=None), joint_scale_mode=mode).double()  # fmt: skip
    params = BodyParams.zeros(1, data.n_joints, 0, like=body.v_template).replace(
        log_joint_scales=torch.from_numpy(log_scales)[None], joint_offsets=torch.from_numpy(offsets)[None]
    )
    weights, found = data.weights.to_dense(), rest
    size = float(np.ptp(rest, axis=0).max())
    for _ in range(_ROUNDS):
        joints = data.joints if data.joint_regressor is None else data.joint_regressor @ found
        at_rest = torch.from_numpy(joints)[None]
        linear, positions = body.posed_skeleton(params, at_rest)
        maps = bone_maps(linear, positions, at_rest, params.scale, params.transl)[0].numpy()
        own = np.einsum('vj,jik->vik', weights, maps.reshape(data.n_joints, 3, 4))
        before = found
        found = np.linalg.solve(own[:, :, :3], (rest - own[:, :, 3])[..., None])[..., 0]
        if np.abs(found - before).max() < _NEAR * size:
            return found
    raise ValueError(
        f'shape space: vertices without joint scales must be found in {_ROUNDS} rounds; they were not. Are the '
        'scales of some registration extreme?'
    )


def _standing(registration: Registration, data: BodyModelData) -> Float[np.ndarray, 'V 3']:
    """Give a specimen's vertices at rest, with scales and offsets, model unit."""
    body = registration.body_of(data, registration.joint_scale_mode).double()
    params = registration.at_rest(data)
    with torch.no_grad():
        return body(params.replace(scale=torch.ones_like(params.scale)), ('vertices',)).vertices[0].numpy()


def _units(registrations: Sequence[Registration]) -> tuple[np.ndarray, str]:
    """Give world units per model unit, in mm if all say what their unit is."""
    scales = np.array([r.scale for r in registrations])
    units = {r.unit for r in registrations}
    if all(unit in MILLIMETRES for unit in units):
        return scales * np.array([MILLIMETRES[r.unit or ''] for r in registrations]), 'mm'
    if len(units) > 1:
        raise ValueError(
            f'shape space: registrations must have one unit; got {", ".join(str(u) for u in units)}. Register again.'
        )
    return scales, 'world unit'


def _mean(values: np.ndarray) -> float:
    """Give the geometric mean."""
    return float(np.exp(np.log(values).mean()))


def _differences(values: np.ndarray) -> np.ndarray:
    found = values - values.mean(0)
    return found if np.abs(found).max() > _NOTHING else np.zeros_like(found)
