"""How well shape spaces of registered specimens generalise, beside spaces of the true ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from benchmarks.measuring import Row
from smilfit.measurements.registration_file import Registration
from smilfit.measurements.rest_shapes import rest_shapes
from smilfit.measurements.shape_curves import shape_curves
from smilfit.measurements.shape_space import FORMS, shape_space
from smilfit.registrants.registration import PosedSurface, SurfaceState


def registered(surface: PosedSurface, name: str, state: SurfaceState, unposed: np.ndarray) -> Registration:
    """Give a state as a shape space takes it."""
    return Registration(
        name,
        unposed,
        state.log_joint_scales.numpy(),
        state.joint_offsets.numpy(),
        float(state.log_scale.exp()),
        joint_scale_mode=surface.body.joint_scale_mode,
        betas=state.betas.numpy(),
    )


def generalisation(
    surface: PosedSurface, found: Sequence[Registration], true: Sequence[Registration]
) -> list[Row]:
    """Leave one out of spaces of registrations, and of the truth: errors as shares of the spread.

    The components are as many as hold 95 % of the variance; `best` is of as many as leave the least error. `truth`
    is how far the true specimen that was left out is from the space of the others, beside the spread of true ones:
    that a registration errs the same way every time helps it nothing.
    """
    rows = []
    for form in FORMS:
        true_rows: tuple[np.ndarray, ...] = ()
        # The truth first: what was registered is held against it.
        for of, registrations in (('true', true), ('registered', found)):
            shapes = rest_shapes(registrations, surface.data)
            space = shape_space(shapes, surface.data, form)
            true_rows = space.rows if of == 'true' else true_rows
            for block, own, others in zip(space.blocks, space.rows, true_rows):
                curves = shape_curves(own, shapes.n_vertices)
                error = curves.generalisation.value / curves.spread
                at = min(block.count, len(error))
                rows.append(
                    {
                        'form': form,
                        'block': block.name,
                        'of': of,
                        'components': at,
                        'error_of_spread': float(error[at - 1]),
                        'best': float(error.min()),
                        'truth': left_out_truth(own, others, at),
                        'spread_%_of_size': 100 * curves.spread / surface.extent,
                    }
                )
    return rows


def left_out_truth(found: Float[np.ndarray, 'N D'], true: Float[np.ndarray, 'N D'], components: int) -> float:
    """Give how far each true specimen is from the space of the others' registrations, a share of the true spread."""
    errors, spreads = [], []
    for i in range(len(found)):
        others = np.delete(found, i, 0)
        directions = np.linalg.svd(others - others.mean(0), full_matrices=False)[2][:components]
        ahead = true[i] - others.mean(0)
        errors.append(np.linalg.norm(ahead - ahead @ directions.T @ directions))
        spreads.append(np.square(true[i] - np.delete(true, i, 0).mean(0)).sum())
    return float(np.mean(errors) / np.sqrt(np.mean(spreads)))
