"""Registers a rigged body to scanned meshes: pose, sizes, shape, then the skin."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smilfit.body_models import SMIL
from smilfit.registrants.registration.deformation import DeformationStage
from smilfit.registrants.registration.doubts import limb_cautions, limb_doubts, pose_cautions, surface_doubts
from smilfit.registrants.registration.limb_curves import MOST_LIMBS
from smilfit.registrants.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.registrants.registration.priors import PriorSizes
from smilfit.registrants.registration.result import Registration, figures
from smilfit.registrants.registration.scan import Scan
from smilfit.registrants.registration.setting_checks import check_number
from smilfit.registrants.registration.skin import with_skin
from smilfit.registrants.registration.specimen import Specimen
from smilfit.registrants.registration.staged_fit import FoundPose, StagedFit
from smilfit.registrants.registration.stages import (
    DEFORMATION,
    STAGES,
    UNRIGGED,
    RegistrationStage,
    stages_of,
)
from smilfit.registrants.registration.template import Template
from smilfit.registry import REGISTRANTS, reject_unknown


@REGISTRANTS.register_module()
class MeshRegistrant:
    """Registers a rigged body to one scan after the other.

    The scan's limbs (what sticks out of its surface) are paired with the body's by where they stand and how far they
    reach along the surface; every likely pairing is a start. From each, pose, place and sizes are found by
    Levenberg-Marquardt on distances between both surfaces, both ways, normals compared, with as many points of each
    part of the body; the best goes on with narrower robust widths until it converges. Limbs that the scan does not
    show stay at their prior. At last rest vertices move, as rigidly as can be.

    Args:
        body_model: the body.
        stages: coarse to fine, as objects or dicts; the first is run from every start.
        deformation: of the rest vertices; None takes those for a rig, or for a template without one. Empty for none.
        priors: what is known of specimens, as an object or a dict.
        n_starts: starts that are followed.
        per_part: points drawn of each part of the body.
        scan_points: most points of the scan that are compared.
        seed: of the drawn points.
        logger: a logger or its name.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[RegistrationStage | Mapping[str, Any]] = STAGES,
        deformation: Sequence[DeformationStage | Mapping[str, Any]] | None = None,
        priors: PriorSizes | Mapping[str, Any] | None = None,
        n_starts: int = 3,
        per_part: int = 40,
        scan_points: int = 4000,
        seed: int = 0,
        logger: logging.Logger | str | None = None,
    ) -> None:
        counts = {'n_starts': (n_starts, 1), 'per_part': (per_part, 1), 'scan_points': (scan_points, 100)}
        for name, (value, least) in counts.items():
            check_number('MeshRegistrant', name, value, least, whole=True)
        self.template = Template.of(body_model, _sizes_of(priors))
        self.stages = stages_of(RegistrationStage, stages)
        if not self.stages:
            raise ValueError('MeshRegistrant: there must be a stage; got none. Name one in the config.')
        default = DEFORMATION if self.template.rigged else UNRIGGED
        self.deformation = stages_of(DeformationStage, default if deformation is None else deformation)
        self.n_starts, self.per_part, self.scan_points, self.seed = n_starts, per_part, scan_points, seed
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')
        if self.template.n_at_seams:
            self.logger.info(
                'MeshRegistrant: %s is split at seams: to find limbs, %d vertices are one with another on '
                'their place.',
                self.template.surface.data.name,
                self.template.n_at_seams,
            )

    @property
    def surface(self) -> PosedSurface:
        """The surface of the body."""
        return self.template.surface

    @property
    def body(self) -> SMIL:
        """The body, in float64."""
        return self.surface.body

    def __call__(self, scan: Scan) -> Registration:
        """Register the body to a scan.

        Raises:
            KeyError: a landmark that the body does not have.
            ValueError: no start could be made.
        """
        began = time.perf_counter()
        specimen = Specimen(self.template, scan, self.per_part, self.scan_points, self.seed)
        fit = StagedFit(specimen, self.stages, self.n_starts)
        best = fit.best_start()
        started = time.perf_counter()
        found = fit.refined(best)
        refined = time.perf_counter()
        state, of_skin = with_skin(specimen, found, self.deformation)
        ended = time.perf_counter()
        seconds = {'starts': started - began, 'stages': refined - started, 'all': ended - began}
        return registration_of(specimen, found, state, [*fit.history, *of_skin], seconds)


def registration_of(
    specimen: Specimen,
    found: FoundPose,
    state: SurfaceState,
    history: Sequence[Mapping[str, Any]],
    seconds: Mapping[str, float],
) -> Registration:
    """Measure a registered surface, and put together what was found.

    Args:
        specimen: the scan and its template.
        found: pose and sizes.
        state: these, with the skin.
        history: of all stages.
        seconds: that they took.
    """
    surface, scan = specimen.surface, specimen.scan
    vertices = surface.vertices(state).numpy()
    scan_distance, body_distance = specimen.distances(vertices)
    shown = ~found.absent[surface.part]
    there, back = figures(scan_distance, scan.extent), figures(body_distance[shown], scan.extent)
    report = {
        'distance_scan_to_body': there,
        'distance_body_to_scan': back,
        'doubts': [*surface_doubts(there, back), *_limb_doubts(specimen, found)],
        'cautions': [*_pose_cautions(specimen, state), *_limb_cautions(specimen)],
        'vertices_at_seams': specimen.template.n_at_seams,
        'converged': bool(history) and history[-1].get('reason') == 'converged',
        'noise': specimen.noise,
        'limbs_of_scan': len(specimen.curves.points),
        'limbs_paired': len(found.start.pairs),
        'rival': found.rival,
        'seconds': dict(seconds),
        'scan': scan.report,
        'history': list(history),
    }
    absent = tuple(surface.data.joint_names[j] for j in np.nonzero(found.absent)[0])
    unposed = surface.rest_vertices(state).numpy()
    return Registration(
        scan.name, state.params(), vertices, unposed, scan_distance, body_distance, absent, report
    )


def _limb_doubts(specimen: Specimen, found: FoundPose) -> list[str]:
    """Say why limbs of a rigged body may be on wrong ones; where all are named there is no doubt of that."""
    pairs, template = found.start.pairs, specimen.template
    if not template.rigged or (pairs and set(pairs) <= set(specimen.known_pairs)):
        return []
    of_body, of_scan = (len(curves.points) - len(pairs) for curves in (template.curves, specimen.curves))
    return limb_doubts(of_body, of_scan, found.rival)


def _limb_cautions(specimen: Specimen) -> list[str]:
    return limb_cautions(specimen.template.curves.n_left_out, specimen.curves.n_left_out, MOST_LIMBS)


def _pose_cautions(specimen: Specimen, state: SurfaceState) -> list[str]:
    turns = state.params().body_pose
    turn_rms = float(turns.square().mean().sqrt()) if turns.numel() else 0.0
    return pose_cautions(turn_rms, specimen.template.priors.sizes.pose_sd)


def _sizes_of(priors: PriorSizes | Mapping[str, Any] | None) -> PriorSizes:
    if not isinstance(priors, Mapping):
        return priors or PriorSizes()
    reject_unknown('MeshRegistrant.priors', 'key', priors, list(PriorSizes.__dataclass_fields__))
    return PriorSizes(**priors)
