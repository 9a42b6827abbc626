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
from jaxtyping import Float

from smilfit.body_models import BodyModelData
from smilfit.body_models.checks import check_body_model
from smilfit.measurements.rest_shapes import RestShapes

Form = Literal['vertices', 'entangled', 'disentangled']
FORMS: tuple[str, ...] = get_args(Form)
# Less of the variance than this is rounding.
_ROUNDING = 1e-10


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
        shapes: the specimens.
        data: their model, of which all but the shape space stays.
        form: `'vertices'` (rest vertices alone, which hold what scales and offsets did), `'entangled'` (each beta
            moves vertices, scales and offsets together) or `'disentangled'` (betas of vertices, then of
            scales, then of offsets).
        variance: as many components as hold this share of each block's variance.
        components: so many of each block, instead.
        name: of the model.

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
    found = lengths**2 / (len(rows) - 1)
    rank = int((found > _ROUNDING * max(found[0], 1e-300)).sum())
    if not found[0] > 0:
        raise ValueError(
            f'shape space: specimens must differ; their {name} are all alike. Are they one specimen?'
        )
    if components is None:
        shares = np.cumsum(found[:rank]) / found.sum()
        components = min(int(np.searchsorted(shares, variance - 1e-12)) + 1, rank)
    elif components > rank:
        raise ValueError(
            f'shape space: components must be at most {rank}, of {len(rows)} specimens; got {components} ({name}). '
            'Register more specimens.'
        )
    sd = np.sqrt(found[:components])
    # The larger half of a direction's entries points up, so that signs do not depend on the library.
    signs = np.sign((directions[:components] ** 3).sum(1))
    signs = np.where(signs == 0, 1.0, signs)
    scaled = (signs * sd)[:, None] * directions[:components]
    scores = (signs * lengths[:components] / sd) * u[:, :components]
    return Components(name, mean, scaled, found[:rank], scores)


def skin_weights(
    vertices: Float[np.ndarray, 'V 3'], data: BodyModelData
) -> tuple[Float[np.ndarray, 'J 3'], Float[np.ndarray, 'J 3']]:
    """Say how far a unit of each log scale and each offset moves all vertices together, to first order."""
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
