"""Moves the skin of a posed specimen at rest onto its scan, stage by stage."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from smilfit.registrants.registration.deformation import DeformationStage, RestDeformation, deform
from smilfit.registrants.registration.posed_surface import SurfaceState
from smilfit.registrants.registration.specimen import Specimen
from smilfit.registrants.registration.staged_fit import FoundPose

# A round that moves vertices by less, share of the noise, is the last: more would follow the noise.
WITHIN_NOISE = 0.02


def with_skin(
    specimen: Specimen, found: FoundPose, stages: Sequence[DeformationStage]
) -> tuple[SurfaceState, list[dict[str, Any]]]:
    """Give the state with rest offsets, and what came of every stage.

    Args:
        specimen: the scan and its template.
        found: pose and sizes, which stay as they are.
        stages: coarse to fine; none moves nothing.
    """
    surface, state = specimen.surface, found.at.point
    no_step = torch.zeros(surface.n_unknowns, dtype=torch.float64)
    linear, shift = (x.numpy() for x in surface.blended(surface.maps(state, no_step)))
    rest = surface.rest_vertices(state).numpy()
    vertices, history = rest, []
    for stage in stages:
        places = specimen.places(found.start) if stage.limbs else None
        problem = specimen.vertex_problem(stage, found.absent, places)
        stiff = RestDeformation(rest, surface.faces, stage.strain)
        least_move = max(stage.ftol * specimen.scan.extent, WITHIN_NOISE * specimen.noise)
        vertices, rounds, still = deform(
            stiff, vertices, linear, shift, problem.matched, stage.n_iter, least_move
        )
        reason = 'converged' if still else 'all done'
        history.append({'deformation': stage.sigma, 'steps': rounds, 'reason': reason})
    return replace(state, rest_offsets=state.rest_offsets + torch.from_numpy(vertices - rest)), history
