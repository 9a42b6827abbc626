"""Few frames fitted again without a camera, with another map, or with both sides exchanged.

What these fits come to says what the numbers of the first one are worth.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import BodyModelData
from smilfit.evaluation.fit_quality import errors_px
from smilfit.evaluation.point_fit import extent
from smilfit.evaluation.verdict.label_measures import extents_px
from smilfit.handlers import BaseHandler, BaseInput, MultiviewKeypoint2dMSEHandler
from smilfit.handlers.keypoints import KeypointInput
from smilfit.registrants.clip_fit import evenly_spaced_rows
from smilfit.structures import FitResult, Keypoints2d, Keypoints3d

# A side's letter or word between separators, or at the end or the beginning; a number may follow the letter.
_SIDE = re.compile(r'(?<![A-Za-z])(left|right|l|r)(?=[^A-Za-z]|$)', re.IGNORECASE)
_OTHER = {'left': 'right', 'right': 'left', 'l': 'r', 'r': 'l'}


def side_pairs(data: BodyModelData, names: Sequence[str]) -> list[tuple[int, int]]:
    """Find pairs of joints or keypoints, as places among `names`.

    The model's `joint_symmetry` has the first word; other names make a pair where one becomes the other by
    exchanging one side's letter or word, such as `paw_L` and `paw_R`.
    """
    place = {name: k for k, name in enumerate(names)}
    stated = dict(data.joint_symmetry)
    pairs = {}
    for name in names:
        for other in (stated.get(name), *_mirrored(name)):
            if other in place and other != name:
                first, second = sorted((place[name], place[other]))
                pairs[first] = second
                break
    return sorted(pairs.items())


def _mirrored(name: str) -> list[str]:
    """Return the name with each of its sides' words exchanged, one at a time, the last one first."""
    result = []
    for match in reversed(list(_SIDE.finditer(name))):
        word = match.group()
        other = _OTHER[word.lower()]
        other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
        result.append(name[: match.start()] + other + name[match.end() :])
    return result


Inputs = Sequence[BaseInput]
Fit = Callable[[Inputs], FitResult]
Config = Mapping[str, Any]
# The least width of a robust loss where maps are compared, share of the animal: 10 px of one 250 px long.
WIDTH = 0.04
# The solver that knows covariances.
SECOND_ORDER = 'LevenbergMarquardt'
# Priors are so many times heavier where maps are compared: a pose that is nearly free follows any map.
STIFF = 20.0
# A label is missed by half where the body is so far off, a share of the animal's size.
NEAR = 0.1


@dataclass(frozen=True)
class NullMaps:
    """How much of the labels wrong maps from keypoints to the body miss, over what the given map does (`misfit`).

    `shuffled` are of keypoints dealt out at random, `swapped` is of both sides exchanged (None without pairs).
    """

    shuffled: tuple[float, ...]
    swapped: float | None


def spread_rows(valid: Tensor, count: int) -> Int[Tensor, ' n']:
    """Choose frames, evenly spread over those where `valid` is True."""
    rows = valid.nonzero().flatten()
    return rows[evenly_spaced_rows(len(rows), count)]


def stiffened(
    cfg: Config, handlers: Mapping[str, BaseHandler], extent_px: float | None = None
) -> dict[str, Any]:
    """Return a registrant's config with the weights of its priors `STIFF` times as heavy.

    Held near rest, labels of an animal that is large in its images miss by more px than a robust loss bears, which
    then leaves half of them out: its width is at least `WIDTH` of the animal.

    Args:
        cfg: of the registrant.
        handlers: that it has; those without an Input of their own are priors.
        extent_px: how large the animal is in its images; robust losses stay as they are if None.
    """
    priors = {f'{key}_weight' for key, handler in handlers.items() if not handler.requires_input()}
    stages = [
        {key: STIFF * value if key in priors else value for key, value in stage.items()}
        for stage in cfg['stages']
    ]
    if extent_px is None or not np.isfinite(extent_px):
        return {**cfg, 'stages': stages}
    least = WIDTH * extent_px
    return {**cfg, 'stages': stages, 'handlers': [_widened(h, handlers, least) for h in cfg['handlers']]}


def _widened(cfg: object, handlers: Mapping[str, BaseHandler], least_px: float) -> object:
    """Return a handler's config with a robust loss of keypoints in images made as wide as that, at least."""
    if not isinstance(cfg, Mapping) or not isinstance(
        handlers.get(str(cfg.get('handler_key'))), MultiviewKeypoint2dMSEHandler
    ):
        return cfg
    loss = cfg.get('mse_loss')
    if not isinstance(loss, Mapping) or not loss.get('sigma'):
        return cfg
    return {**cfg, 'mse_loss': {**loss, 'sigma': max(float(loss['sigma']), least_px)}}


def with_covariance(cfg: Config) -> dict[str, Any]:
    """Return a registrant's config whose last stage says how sure it is, where its solver can."""

    def sure(solver: Config) -> dict[str, Any]:
        return {**solver, 'covariance': True} if solver.get('type') == SECOND_ORDER else dict(solver)

    def sure_where_set(settings: Config) -> dict[str, Any]:
        own = settings.get('optimizer')
        return {**settings, 'optimizer': sure(own)} if own else dict(settings)

    *stages, last = cfg['stages']
    return sure_where_set({**cfg, 'stages': [*stages, sure_where_set(last)]})


def null_maps(
    fit: Fit, inputs: Inputs, data: BodyModelData, count: int, pooled: bool = True, seed: int = 0
) -> NullMaps | None:
    """Fit with keypoints dealt out at random and with sides exchanged, and compare how many labels are missed.

    Args:
        fit: fits.
        inputs: of the frames, with the map in question.
        data: says which keypoints are left and right.
        count: how many random maps.
        pooled: as of `extents_px`.
        seed: of the random maps.

    Returns:
        None where no keypoints were fitted to.
    """
    if _labels(inputs) is None:
        return None
    rng = np.random.default_rng(seed)

    def missed(changed: Inputs) -> float:
        observed = _labels(changed)
        return (
            1.0
            if observed is None
            else misfit(observed, fitted_keypoints(fit(changed), observed.names), pooled)
        )

    # Labels without noise may be met exactly.
    given = max(missed(inputs), 1e-4)
    shuffled = tuple(missed(dealt_out(inputs, rng)) / given for _ in range(count))
    swapped = with_sides_exchanged(inputs, data)
    return NullMaps(shuffled, None if swapped is None else missed(swapped) / given)


def misfit(observed: Keypoints2d | Keypoints3d, points: Float[Tensor, 'B K 3'], pooled: bool = True) -> float:
    """Average over labels how far they are missed: 0 where a point is met, 1/2 at `NEAR`, towards 1 beyond.

    So it does not matter in which unit, and how robustly, a config weighs px.

    Args:
        points: of the body, world unit.
        pooled: as of `extents_px`.
    """
    if isinstance(observed, Keypoints3d):
        # A frame that could not be fitted misses all of its labels.
        distance = (points.double() - observed.xyz.double()).norm(dim=-1).nan_to_num(torch.inf)
        distance = torch.where(observed.visible, distance, torch.nan)
        share = distance / extent(observed).clamp_min(1e-9)
    else:
        share = errors_px(observed, points) / extents_px(observed, pooled).clamp_min(1e-9).unsqueeze(-1)
    missed = torch.where(share.isinf(), torch.ones_like(share), share**2 / (share**2 + NEAR**2))
    return float(missed.nanmean())


def _labels(inputs: Inputs) -> Keypoints2d | Keypoints3d | None:
    """Return the keypoints that are fitted to: those in images, or without these the ones in space."""
    given = [i.keypoints for i in inputs if isinstance(i, KeypointInput)]
    return next((k for k in given if isinstance(k, Keypoints2d)), given[0] if given else None)


def dealt_out(inputs: Inputs, rng: np.random.Generator) -> list[BaseInput]:
    """Return every keypoint the name of another, in all views and frames alike."""
    orders: dict[tuple[str, ...], list[int]] = {}

    def deal(keypoints: Keypoints2d | Keypoints3d) -> Keypoints2d | Keypoints3d:
        if keypoints.names not in orders:
            orders[keypoints.names] = _derangement(len(keypoints.names), rng)
        return _reordered(keypoints, orders[keypoints.names])

    return [changed_keypoints(i, {Keypoints2d: deal, Keypoints3d: deal}) for i in inputs]


def with_sides_exchanged(inputs: Inputs, data: BodyModelData) -> list[BaseInput] | None:
    """Exchange the left and right keypoints; None where there are no pairs."""
    some = False

    def exchange(keypoints: Keypoints2d | Keypoints3d) -> Keypoints2d | Keypoints3d:
        nonlocal some
        order = list(range(len(keypoints.names)))
        for a, b in side_pairs(data, keypoints.names):
            order[a], order[b], some = b, a, True
        return _reordered(keypoints, order)

    changed = [changed_keypoints(i, {Keypoints2d: exchange, Keypoints3d: exchange}) for i in inputs]
    return changed if some else None


def fitted_keypoints(result: FitResult, names: Sequence[str]) -> Float[Tensor, 'B K 3']:
    """Compute named keypoints of a fit, world unit, on the CPU."""
    if result.body is None:
        raise ValueError(
            'fitted_keypoints: the fit must know its body model; got none. Load it with body=....'
        )
    with torch.no_grad():
        return result.body(result.params, tuple(names)).select(tuple(names)).cpu()


def _derangement(count: int, rng: np.random.Generator) -> list[int]:
    """Draw an order in which nothing stays in its place."""
    if count < 2:
        return list(range(count))
    while True:
        order = rng.permutation(count)
        if not (order == np.arange(count)).any():
            return order.tolist()


def _reordered(keypoints: Keypoints2d | Keypoints3d, order: list[int]) -> Keypoints2d | Keypoints3d:
    field = 'xyz' if isinstance(keypoints, Keypoints3d) else 'xy'
    points = getattr(keypoints, field)[..., order, :]
    changed = replace(keypoints, confidence=keypoints.confidence[..., order], **{field: points})
    # Whatever the names are: the cameras stay what they were judged to be.
    if isinstance(changed, Keypoints2d) and isinstance(keypoints, Keypoints2d):
        return changed.judged(keypoints.camera_report)
    return changed


def changed_keypoints(given: BaseInput, changes: Mapping[type, Callable[[Any], Any]]) -> BaseInput:
    """Copy an Input with its keypoints changed, by what kind they are; others stay as they are."""
    if not isinstance(given, KeypointInput):
        return given
    change = next((f for kind, f in changes.items() if isinstance(given.keypoints, kind)), None)
    if change is None:
        return given
    changed = copy(given)
    changed.keypoints = change(given.keypoints)
    return changed
