"""Body parameters that a session's maker knows, by frame; of another body they are counted, not taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from smilfit.datasets.session_plan import NamedSession
from smilfit.datasets.store.store_layout import PARAM_NAMES
from smilfit.structures import PARAMETERS


@dataclass(frozen=True)
class KnownParams:
    """Parameters of N frames, zeros where unknown; `n_misfits` frames stated those of another body."""

    values: Mapping[str, Float[np.ndarray, 'N ...']]
    known: Bool[np.ndarray, 'N']
    n_misfits: int = 0

    def row(self, frame: int) -> dict[str, np.ndarray] | None:
        """Return one frame's; None where unknown."""
        return {name: value[frame] for name, value in self.values.items()} if self.known[frame] else None


def known_params_of(session: NamedSession, n_joints: int, n_betas: int) -> KnownParams | None:
    """Return the parameters that a session knows; None where it knows none.

    Raises:
        ValueError: a made session with parameters of another body model, or with fields that are not stored.
    """
    if hasattr(session, 'known_params'):
        return session.known_params(n_joints, n_betas)
    params = getattr(session, 'true_params', None)
    if params is None:
        return None
    values = {n: v.detach().cpu().double().numpy() for n, v in params.as_axis_angle().as_dict().items()}
    extra = sorted(n for n, v in values.items() if n not in PARAM_NAMES and v.any())
    shape, expected = (params.n_joints, params.betas.shape[1]), (n_joints, n_betas)
    if extra or shape != expected:
        raise ValueError(
            f'{session.name}: true parameters must be {", ".join(PARAM_NAMES)} of a model with {expected[0]} joints '
            f'and {expected[1]} betas; got {shape[0]} and {shape[1]}, and beside these {extra or "nothing"}. '
            "Give the body model that the session was made with, or take the session's truth away."
        )
    return KnownParams({n: values[n] for n in PARAM_NAMES}, np.ones(len(values['transl']), np.bool_))


def params_of_images(
    stated: Sequence[Mapping[str, np.ndarray] | None], n_joints: int, n_betas: int
) -> KnownParams | None:
    """Take the parameters that images state, where they are of a body with so many joints and betas.

    A missing scale is 1. A field that is not stored and not 0 makes a body another one, as do numbers that are not
    finite and a scale that is not positive.
    """
    if all(params is None for params in stated):
        return None
    shapes = {name: PARAMETERS[name].row({'J': n_joints, 'S': n_betas}) for name in PARAM_NAMES}
    values = {name: np.zeros((len(stated), *shapes[name])) for name in PARAM_NAMES}
    known = np.zeros(len(stated), np.bool_)
    for i, params in enumerate(stated):
        if params is None:
            continue
        arrays = {'scale': np.ones(())} | {n: np.asarray(v, np.float64) for n, v in params.items()}
        stored = all(n in arrays and arrays[n].shape == shape for n, shape in shapes.items())
        known[i] = stored and not any(v.any() for n, v in arrays.items() if n not in shapes)
        # A body whose numbers are none is as little known as another one.
        finite = all(np.isfinite(v).all() for v in arrays.values())
        known[i] = known[i] and finite and arrays['scale'] > 0
        if known[i]:
            for name in PARAM_NAMES:
                values[name][i] = arrays[name]
    return KnownParams(values, known, sum(params is not None for params in stated) - int(known.sum()))
