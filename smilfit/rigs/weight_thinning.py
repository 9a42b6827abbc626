"""Few skinning weights a vertex."""

from dataclasses import replace

import numpy as np

from smilfit.body_models.data import BodyModelData, SparseMatrix


def thin_weights(
    data: BodyModelData, most: int | None = None, least: float = 0.0
) -> tuple[BodyModelData, tuple[str, ...]]:
    """Keep the heaviest weights of each vertex, and make them sum to one.

    Args:
        data: the model.
        most: so many joints a vertex at most; None keeps all.
        least: weights below this go, but never a vertex's heaviest.

    Returns:
        The model, and what was done in words; the very same model where nothing was.

    Raises:
        ValueError: fewer than one joint a vertex, or a least weight that is no share.
    """
    if most is not None and most < 1:
        raise ValueError(f'most weights: must be at least 1; got {most}.')
    if not 0 <= least < 1:
        raise ValueError(f'least weight: must be from 0 to below 1; got {least:g}.')
    weights = data.weights
    # By vertex, the heaviest first.
    order = np.lexsort((weights.cols, -weights.values, weights.rows))
    rows, values = weights.rows[order], weights.values[order]
    first = np.searchsorted(rows, rows)
    place = np.arange(len(rows)) - first
    few = np.ones(len(rows), bool) if most is None else place < most
    heavy = (values >= least) | (place == 0)
    kept = few & heavy
    if kept.all():
        return data, ()
    rows, cols, values = rows[kept], weights.cols[order][kept], values[kept]
    sums = np.bincount(rows, values, data.n_vertices)
    lost = 1 - sums[np.unique(rows)]
    told = [
        f'{int((~kept).sum())} weights were taken out of {len(np.unique(weights.rows[order][~kept]))} vertices, '
        f'which lost up to {100 * lost.max():.2g} % of their weight: {int((~few).sum())} beyond {most} joints a '
        f'vertex, {int((few & ~heavy).sum())} below {least:g}'
    ]
    back = np.lexsort((cols, rows))
    thin = SparseMatrix(rows[back], cols[back], (values / sums[rows])[back], weights.shape)
    return replace(data, weights=thin), tuple(told)
