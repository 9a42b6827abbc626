"""Whether two body models are one body: the same vertices under random poses and shapes."""

import numpy as np
import torch

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.smil import SMIL
from smilfit.structures import BodyParams

# Standard deviations of the random bodies: rad, and logarithms of joint scales.
_TURN_RAD, _LOG_SCALE = 0.5, 0.1


def body_difference(first: BodyModelData, second: BodyModelData, count: int = 4, seed: int = 0) -> float:
    """Measure how far vertices and joints of two models lie apart at most, a share of the first one's size.

    Bodies are posed at random, shaped at random within the first one's covariance, and have random joint scales and
    the scales and offsets that shapes drive. Infinite for models of other counts.

    Args:
        first: a model.
        second: another, with its vertices and joints in the same order.
        count: of random bodies.
        seed: of the random numbers.
    """
    if _counts(first) != _counts(second):
        return float('inf')
    params = _random_params(first, count, np.random.default_rng(seed))
    found = []
    for data in (first, second):
        body = SMIL(data, scale_directions=0.05, offset_directions=0.05).double()
        with torch.no_grad():
            output = body(params, ('vertices', 'joints'))
        found.append(torch.cat((output.vertices, output.joints), 1).numpy())
    size = float(np.ptp(first.v_template, axis=0).max())
    return float(np.linalg.norm(found[0] - found[1], axis=-1).max()) / size


def _counts(data: BodyModelData) -> tuple[object, ...]:
    return data.n_vertices, data.joint_names, tuple(data.parents.tolist()), data.n_betas


def _random_params(data: BodyModelData, count: int, rng: np.random.Generator) -> BodyParams:
    betas = (
        np.zeros((count, data.n_betas)) if data.shape_mean is None else np.tile(data.shape_mean, (count, 1))
    )
    sd = np.ones(data.n_betas) if data.shape_cov is None else np.sqrt(np.diag(data.shape_cov).clip(0))
    drawn = {
        'global_orient': _TURN_RAD * rng.normal(size=(count, 3)),
        'body_pose': _TURN_RAD * rng.normal(size=(count, data.n_joints - 1, 3)),
        'betas': betas + sd * rng.normal(size=betas.shape),
        'transl': rng.normal(size=(count, 3)),
        'scale': np.ones(count),
        'log_joint_scales': _LOG_SCALE * rng.normal(size=(count, data.n_joints, 3)),
    }
    return BodyParams.of({name: torch.from_numpy(value) for name, value in drawn.items()})
