"""How well shape spaces of registered specimens generalise, beside spaces of the true ones."""

from collections.abc import Sequence

import numpy as np

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
        None,
        float(state.log_scale.exp()),
        joint_scale_mode=surface.body.joint_scale_mode,
        betas=state.betas.numpy(),
    )


def generalisation(
    surface: PosedSurface, found: Sequence[Registration], true: Sequence[Registration]
) -> list[Row]:
    """Leave one out of spaces of registrations, and of the truth: errors as shares of the spread.

    The components are as many as hold 95 % of the variance; `best` is of as many as leave the least error.
    """
    rows = []
    for form in FORMS:
        for of, registrations in (('registered', found), ('true', true)):
            shapes = rest_shapes(registrations, surface.data)
            space = shape_space(shapes, surface.data, form)
            for block, block_rows in zip(space.blocks, space.rows):
                curves = shape_curves(block_rows, shapes.n_vertices)
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
                        'best_at': int(error.argmin()) + 1,
                        'spread_%_of_size': 100 * curves.spread / surface.extent,
                    }
                )
    return rows
