"""Principal components of specimens of one model, and the model that they make.

Rows hold vertices, logarithms of joint scales and joint offsets. These have different units, so each is weighted by
what it does to the skin: a joint's scale by `sqrt(sum_v w_vj (v - J_j)^2)` along its axis and its offset by the root
of the squared weights of all skin that it carries. A row's length is then, to first order, the movement of all
vertices that it means. Directions are one standard deviation long, so coefficients have mean 0 and the identity as
covariance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import stdtrit

from smilfit.body_models import SMIL, BodyModelData
from smilfit.body_models.checks import check_body_model
from smilfit.geometry.posing import bone_maps
from smilfit.scans.measurements.specimens import Registration
from smilfit.structures import BodyParams
from smilfit.structures.body import MILLIMETRES

# Rounds in which joints follow the vertices that are looked for, and how near they must come, shares of the size.
_ROUNDS, _NEAR = 50, 1e-9
# Scales and offsets below this are none.
_NOTHING = 1e-9
Form = Literal['vertices', 'entangled', 'disentangled']
FORMS: tuple[str, ...] = get_args(Form)
# Less of the variance than this is rounding.
_ROUNDING = 1e-10
DRAWS = 1000
_SHARE = 0.95


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
        centre = data.v_template.mean(0)
        rest = centre + by[:, None, None] * (rest - rest.mean(1, keepdims=True))
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
    weights, result = data.weights.to_dense(), rest
    size = float(np.ptp(rest, axis=0).max())
    for _ in range(_ROUNDS):
        joints = data.joints if data.joint_regressor is None else data.joint_regressor @ result
        at_rest = torch.from_numpy(joints)[None]
        linear, positions = body.posed_skeleton(params, at_rest)
        maps = bone_maps(linear, positions, at_rest, params.scale, params.transl)[0].numpy()
        own = np.einsum('vj,jik->vik', weights, maps.reshape(data.n_joints, 3, 4))
        before = result
        result = np.linalg.solve(own[:, :, :3], (rest - own[:, :, 3])[..., None])[..., 0]
        if np.abs(result - before).max() < _NEAR * size:
            return result
    raise ValueError(
        f'shape space: vertices without joint scales must be found in {_ROUNDS} rounds; they were not. Are the '
        'scales of some registration extreme?'
    )


def _standing(registration: Registration, data: BodyModelData) -> Float[np.ndarray, 'V 3']:
    """Return a specimen's vertices at rest, with scales and offsets, model unit."""
    body = registration.body_of(data, registration.joint_scale_mode).double()
    params = registration.at_rest(data)
    with torch.no_grad():
        return body(params.replace(scale=torch.ones_like(params.scale)), ('vertices',)).vertices[0].numpy()


def _units(registrations: Sequence[Registration]) -> tuple[np.ndarray, str]:
    """Return world units per model unit, in mm if all say what their unit is."""
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
    """Return the geometric mean."""
    return float(np.exp(np.log(values).mean()))


def _differences(values: np.ndarray) -> np.ndarray:
    result = values - values.mean(0)
    return result if np.abs(result).max() > _NOTHING else np.zeros_like(result)


@dataclass(frozen=True)
class Components:
    """Principal components of N rows of D numbers: K directions one standard deviation long, and N scores."""

    name: str
    mean: Float[np.ndarray, ' D']
    directions: Float[np.ndarray, 'K D']
    variances: Float[np.ndarray, ' R']
    scores: Float[np.ndarray, 'N K']

    @property
    def count(self) -> int:
        """K."""
        return len(self.directions)

    @property
    def kept(self) -> float:
        """The share of the variance that the K directions hold."""
        return float(self.variances[: self.count].sum() / max(self.variances.sum(), 1e-300))


@dataclass(frozen=True)
class ShapeSpace:
    """A shape space: its model, and by block the components that its betas are, in their order.

    `rows` are by block what was analysed, weighted.
    """

    form: str
    data: BodyModelData
    blocks: tuple[Components, ...]
    rows: tuple[Float[np.ndarray, 'N _'], ...]

    @property
    def scores(self) -> Float[np.ndarray, 'N S']:
        """The specimens' betas."""
        return np.concatenate([block.scores for block in self.blocks], 1)


def shape_space(
    shapes: RestShapes,
    data: BodyModelData,
    form: str = 'entangled',
    variance: float = 0.95,
    components: int | None = None,
    name: str | None = None,
) -> ShapeSpace:
    """Analyse specimens, and make a model of what is found.

    Args:
        data: their model, of which all but the shape space stays.
        form: `'vertices'` (rest vertices alone, which hold what scales and offsets did), `'entangled'` (each beta
            moves vertices, scales and offsets together) or `'disentangled'` (betas of vertices, then of
            scales, then of offsets).
        variance: as many components as hold this share of each block's variance.
        components: so many of each block, instead.

    Raises:
        ValueError: an unknown form, more components than specimens tell apart, or specimens that do not differ.
    """
    if form not in FORMS:
        raise ValueError(f'shape space: the form must be one of {FORMS}; got {form!r}. Choose one.')
    n, n_vertices = len(shapes.names), shapes.n_vertices
    vertices = (shapes.rest if form == 'vertices' else shapes.vertices).reshape(n, -1)
    scale_weights, offset_weights = skin_weights(vertices.mean(0).reshape(-1, 3), data)
    scales = (shapes.log_scales * scale_weights).reshape(n, -1)
    offsets = (shapes.offsets * offset_weights).reshape(n, -1)
    if form == 'entangled':
        named = {'all': np.concatenate((vertices, scales, offsets), 1)}
    elif form == 'vertices':
        named = {'vertices': vertices}
    else:
        parts = {'vertices': vertices, 'scales': scales, 'offsets': offsets}
        named = {key: rows for key, rows in parts.items() if np.ptp(rows, axis=0).max() > 0}
    blocks = tuple(principal_components(key, rows, variance, components) for key, rows in named.items())
    model = _model(data, form, blocks, n_vertices, scale_weights, offset_weights, name)
    return ShapeSpace(form, model, blocks, tuple(named.values()))


def principal_components(
    name: str, rows: Float[np.ndarray, 'N D'], variance: float, components: int | None
) -> Components:
    """Find the principal components of rows, as many as hold a share of the variance, or so many.

    Raises:
        ValueError: rows that do not differ, or fewer components than asked for.
    """
    mean = rows.mean(0)
    # float64 and not the product of rows by rows, whose small variances would be rounding.
    u, lengths, directions = np.linalg.svd(rows - mean, full_matrices=False)
    result = lengths**2 / (len(rows) - 1)
    rank = int((result > _ROUNDING * max(result[0], 1e-300)).sum())
    if not result[0] > 0:
        raise ValueError(
            f'shape space: specimens must differ; their {name} are all alike. Are they one specimen?'
        )
    if components is None:
        shares = np.cumsum(result[:rank]) / result.sum()
        components = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, rank)
    elif components > rank:
        raise ValueError(
            f'shape space: components must be at most {rank}, of {len(rows)} specimens; got {components} ({name}). '
            'Register more specimens.'
        )
    sd = np.sqrt(result[:components])
    # The larger half of a direction's entries points up, so that signs do not depend on the library.
    signs = np.sign((directions[:components] ** 3).sum(1))
    signs = np.where(signs == 0, 1.0, signs)
    scaled = (signs * sd)[:, None] * directions[:components]
    scores = (signs * lengths[:components] / sd) * u[:, :components]
    return Components(name, mean, scaled, result[:rank], scores)


def skin_weights(
    vertices: Float[np.ndarray, 'V 3'], data: BodyModelData
) -> tuple[Float[np.ndarray, 'J 3'], Float[np.ndarray, 'J 3']]:
    """Return how far a unit of each log scale and each offset moves all vertices together, to first order."""
    skin = data.weights.to_dense()
    joints = data.joints if data.joint_regressor is None else data.joint_regressor @ vertices
    arms = vertices[:, None] - joints
    scales = np.sqrt(np.einsum('vj,vjc->jc', skin, arms**2))
    carried = skin.copy()
    for j in range(data.n_joints - 1, 0, -1):
        carried[:, data.parents[j]] += carried[:, j]
    offsets = np.repeat(np.sqrt((carried**2).sum(0))[:, None], 3, 1)
    # A joint without skin is none's: it weighs little, but what it does is not lost.
    least = 1e-3 * max(float(scales.max()), 1e-300)
    return scales.clip(least), offsets.clip(1e-3 * max(float(offsets.max()), 1e-300))


def _model(
    data: BodyModelData,
    form: str,
    blocks: Sequence[Components],
    n_vertices: int,
    scale_weights: np.ndarray,
    offset_weights: np.ndarray,
    name: str | None,
) -> BodyModelData:
    """Write components as directions of a model, all betas one after the other."""
    n_betas, n_joints = sum(block.count for block in blocks), data.n_joints
    moved = np.zeros((n_betas, n_vertices, 3))
    scaled, shifted = (np.zeros((n_betas, n_joints, 3)) for _ in range(2))
    mean, at = data.v_template, 0
    for block in blocks:
        own = slice(at, at + block.count)
        at += block.count
        cuts = np.cumsum([3 * n_vertices, 3 * n_joints])
        if block.name == 'all':
            parts: list[np.ndarray | None] = [*np.split(block.directions, cuts, axis=1)]
        else:
            parts = [
                block.directions if block.name == key else None for key in ('vertices', 'scales', 'offsets')
            ]
        for target, part, weights in zip(
            (moved, scaled, shifted), parts, (None, scale_weights, offset_weights), strict=True
        ):
            if part is not None:
                rows = part.reshape(block.count, -1, 3)
                target[own] = rows if weights is None else rows / weights
        if block.name in ('all', 'vertices'):
            mean = block.mean[: 3 * n_vertices].reshape(-1, 3)
    driven = form != 'vertices' and bool(scaled.any() or shifted.any())
    made = replace(
        data,
        name=name or data.name,
        v_template=mean,
        joints=data.joints if data.joint_regressor is None else data.joint_regressor @ mean,
        shapedirs=moved.transpose(1, 2, 0),
        shape_mean=np.zeros(n_betas),
        shape_cov=np.eye(n_betas),
        shape_mixture=None,
        scaledirs=scaled if driven else None,
        transdirs=shifted if driven else None,
        log_scale_directions=driven,
    )
    return check_body_model(made, made.name)


@dataclass(frozen=True)
class Curve:
    """A number by the count of components 1, 2, ..., with its 95 % interval."""

    value: Float[np.ndarray, ' K']
    low: Float[np.ndarray, ' K']
    high: Float[np.ndarray, ' K']

    def times(self, factor: float) -> 'Curve':
        """Return it in another unit."""
        return Curve(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Curves:
    """Curves of one block.

    Args:
        compactness: share of the variance; its interval is the jackknife's over specimens.
        generalisation: error of a specimen that the components were not made from; interval of its mean.
        specificity: how far animals drawn from the space are from the nearest specimen; interval of its mean.
        spread: root mean square distance of specimens from the mean of the others.
    """

    compactness: Curve
    generalisation: Curve
    specificity: Curve
    spread: float


def shape_curves(rows: Float[np.ndarray, 'N D'], n_vertices: int, seed: int = 0) -> Curves:
    """Compute the curves of specimens' rows.

    Args:
        rows: of the specimens, weighted so that their lengths are movements of vertices.
        n_vertices: by whose root errors are divided.
    """
    rng = np.random.default_rng(seed)
    centred = rows - rows.mean(0)
    products = centred @ centred.T
    n = len(rows)
    most = n - 2
    left_out, spread = _left_out(products, most)
    root = np.sqrt(n_vertices)
    return Curves(
        _compactness(products, most),
        _mean_curve(np.sqrt(left_out.clip(0)) / root),
        _specificity(products, most, rng, root),
        float(np.sqrt(spread.mean()) / root),
    )


def _left_out(products: Float[np.ndarray, 'N N'], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each specimen's squared errors by components of the others, and its squared distance from their mean."""
    n = len(products)
    errors, distances = np.zeros((n, most)), np.zeros(n)
    for i in range(n):
        others = np.arange(n) != i
        inner = products[np.ix_(others, others)]
        to_it = products[others, i]
        means = inner.mean(0)
        centred = inner - means - means[:, None] + means.mean()
        distances[i] = products[i, i] - 2 * to_it.mean() + means.mean()
        ahead = to_it - to_it.mean() - means + means.mean()
        values, vectors = np.linalg.eigh(centred)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
        valid = values > 1e-12 * max(values[0], 1e-300)
        along = np.where(valid, vectors.T @ ahead / np.sqrt(np.where(valid, values, 1.0)), 0.0)
        errors[i] = distances[i] - np.cumsum(along**2)
    return errors, distances


def _mean_curve(values: Float[np.ndarray, 'n K']) -> Curve:
    n = len(values)
    mean, half = values.mean(0), stdtrit(n - 1, 0.5 + _SHARE / 2) * values.std(0, ddof=1) / np.sqrt(n)
    return Curve(mean, (mean - half).clip(0), mean + half)


def _shares(products: np.ndarray, most: int) -> np.ndarray:
    means = products.mean(0)
    values = np.linalg.eigvalsh(products - means - means[:, None] + means.mean())[::-1].clip(0)
    return np.cumsum(values)[:most] / max(values.sum(), 1e-300)


def _compactness(products: np.ndarray, most: int) -> Curve:
    """Return shares of the variance, with the jackknife's interval: specimens drawn twice would make spaces
    compact."""
    n = len(products)
    value, others = _shares(products, most), ~np.eye(n, dtype=bool)
    result = np.stack([_shares(products[np.ix_(rows, rows)], most) for rows in others])
    error = np.sqrt((n - 1) * result.var(0))
    half = stdtrit(n - 1, 0.5 + _SHARE / 2) * error
    return Curve(value, (value - half).clip(0), (value + half).clip(None, 1))


def _specificity(products: np.ndarray, most: int, rng: np.random.Generator, root: float) -> Curve:
    n = len(products)
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    scores = vectors * np.sqrt(values)
    drawn = rng.normal(size=(DRAWS, most)) * np.sqrt(values[:most] / (n - 1))
    result = np.zeros((DRAWS, most))
    for k in range(1, most + 1):
        inside = ((drawn[:, None, :k] - scores[None, :, :k]) ** 2).sum(-1)
        result[:, k - 1] = np.sqrt((inside + (scores[:, k:] ** 2).sum(1)).min(1)) / root
    return _mean_curve(result)
