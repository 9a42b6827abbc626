"""Registers a rigged body to scanned meshes: pose, sizes, shape, then the skin."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.registry import REGISTRANTS, reject_unknown
from smilfit.scans.registration.deformation import RestDeformation, deform
from smilfit.scans.registration.limbs import MOST_LIMBS
from smilfit.scans.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.scans.registration.registration_priors import PriorSizes
from smilfit.scans.registration.result import Registration, figures
from smilfit.scans.registration.scan import Scan
from smilfit.scans.registration.specimen import Specimen
from smilfit.scans.registration.staged_fit import RegisteredPose, StagedFit
from smilfit.scans.registration.stages import (
    DEFORMATION,
    STAGES,
    UNRIGGED,
    DeformationStage,
    RegistrationStage,
    check_number,
    stages_of,
)
from smilfit.scans.registration.template import Template

# Of the extent: where a twentieth of the points is farther off, surfaces are not each other's.
FAR_OFF = 0.03
# Of the best start's energy: with less, one that ended elsewhere is as likely. Three wrong ones had 1.10 to 1.14, all
# right ones more than 1.2.
RIVAL = 1.2
_TIPS = 'Look at the picture, and name tips of limbs (NAME.landmarks.json) where they are wrong.'
# A round that moves vertices by less, share of the noise, is the last: more would follow the noise.
WITHIN_NOISE = 0.02


def surface_objections(scan_to_body: Mapping[str, float], body_to_scan: Mapping[str, float]) -> list[str]:
    """Return where surfaces are too far apart to be believed; nothing where they may be.

    Args:
        scan_to_body: figures of distances from the scan.
        body_to_scan: figures of distances from what of the body the scan shows.
    """
    result = []
    for figure, of, to in ((scan_to_body, 'scan', 'body'), (body_to_scan, 'body', 'scan')):
        far = figure['percentile_95_share']
        # Not far too: NaN.
        if not far <= FAR_OFF:
            result.append(
                f'a twentieth of the {of} lies {100 * far:.1f} % of the extent or more from the {to}. Look at the '
                'picture: is it another animal, a limb on a wrong one, or does the scan hold more than the animal?'
            )
    return result


def limb_objections(free_of_body: int, free_of_scan: int, rival: float | None) -> list[str]:
    """Return why limbs may be on wrong ones.

    Args:
        free_of_body: limbs of the body for which the scan has no counterpart.
        free_of_scan: limbs of the scan that are none of the body's.
        rival: the energy of a start that ended elsewhere, times the best one's; None where there is none.
    """
    result = []
    if free_of_body and free_of_scan:
        result.append(
            f'{free_of_scan} limbs of the scan lie on none of the body, which has {free_of_body} left over. {_TIPS}'
        )
    if rival is not None and rival < RIVAL:
        result.append(
            f'the body lies nearly as well in another place or way round ({rival:.2f} times the energy). {_TIPS}'
        )
    return result


def pose_cautions(rotation_rms: float, pose_sd: float) -> list[str]:
    """Return where a pose is so far from rest that limbs may be taken for others; as right ones are so, too,
    no doubt.

    Args:
        rotation_rms: of the angles of joints about rest, root mean square, rad.
        pose_sd: of these, as the priors have it.
    """
    if rotation_rms <= pose_sd:
        return []
    return [
        f'joints are turned by {rotation_rms:.2f} rad (root mean square), more than the {pose_sd:g} that is '
        f'expected: so far from rest limbs are easily taken for others. {_TIPS}'
    ]


def limb_cautions(of_body: int, of_scan: int, compared: int) -> list[str]:
    """Return where a surface has so many limbs that only the longest were compared.

    Args:
        of_body: shorter limbs of the body, left out.
        compared: most limbs of a surface that are compared.
    """
    return [
        f'the {what} has {compared + left} limbs, of which the {compared} longest were compared, so that starts stay '
        f'few: the others are taken for its trunk. {advice}'
        for what, left, advice in (
            ('body', of_body, 'Is its surface torn? smilfit model check says where.'),
            ('scan', of_scan, 'Is it smooth and in one piece? Clean and smooth it where it is not.'),
        )
        if left
    ]


def with_skin(
    specimen: Specimen, posed: RegisteredPose, stages: Sequence[DeformationStage]
) -> tuple[SurfaceState, list[dict[str, object]]]:
    """Return the state with rest offsets, and what came of every stage.

    Args:
        posed: pose and sizes, which stay as they are.
        stages: coarse to fine; none moves nothing.
    """
    surface, state = specimen.surface, posed.at.point
    no_step = torch.zeros(surface.n_unknowns, dtype=torch.float64)
    linear, shift = (x.numpy() for x in surface.blended(surface.maps(state, no_step)))
    rest = surface.rest_vertices(state).numpy()
    vertices, history = rest, []
    for stage in stages:
        places = specimen.places(posed.start) if stage.limbs else None
        problem = specimen.vertex_problem(stage, posed.absent, places)
        stiff = RestDeformation(rest, surface.faces, stage.strain)
        least_move = max(stage.ftol * specimen.scan.extent, WITHIN_NOISE * specimen.noise)
        vertices, rounds, still = deform(
            stiff, vertices, linear, shift, problem.matched, stage.n_iter, least_move
        )
        reason = 'converged' if still else 'all done'
        history.append({'deformation': stage.sigma, 'steps': rounds, 'reason': reason})
    return replace(state, rest_offsets=state.rest_offsets + torch.from_numpy(vertices - rest)), history


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
        stages: Sequence[RegistrationStage | Mapping[str, object]] = STAGES,
        deformation: Sequence[DeformationStage | Mapping[str, object]] | None = None,
        priors: PriorSizes | Mapping[str, float] | None = None,
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
        result = fit.refined(best)
        refined = time.perf_counter()
        state, of_skin = with_skin(specimen, result, self.deformation)
        ended = time.perf_counter()
        seconds = {'starts': started - began, 'stages': refined - started, 'all': ended - began}
        return registration_of(specimen, result, state, [*fit.history, *of_skin], seconds)


def registration_of(
    specimen: Specimen,
    posed: RegisteredPose,
    state: SurfaceState,
    history: Sequence[Mapping[str, object]],
    seconds: Mapping[str, float],
) -> Registration:
    """Measure a registered surface, and put together what was found."""
    surface, scan = specimen.surface, specimen.scan
    vertices = surface.vertices(state).numpy()
    scan_distance, body_distance = specimen.distances(vertices)
    shown = ~posed.absent[surface.part]
    to_body, to_scan = figures(scan_distance, scan.extent), figures(body_distance[shown], scan.extent)
    report = {
        'distance_scan_to_body': to_body,
        'distance_body_to_scan': to_scan,
        'doubts': [*surface_objections(to_body, to_scan), *_limb_objections(specimen, posed)],
        'cautions': [*_pose_cautions(specimen, state), *_limb_cautions(specimen)],
        'vertices_at_seams': specimen.template.n_at_seams,
        'converged': bool(history) and history[-1].get('reason') == 'converged',
        'noise': specimen.noise,
        'limbs_of_scan': len(specimen.curves.points),
        'limbs_paired': len(posed.start.pairs),
        'rival': posed.rival,
        'seconds': dict(seconds),
        'scan': scan.report,
        'history': list(history),
    }
    absent = tuple(surface.data.joint_names[j] for j in np.nonzero(posed.absent)[0])
    unposed = surface.rest_vertices(state).numpy()
    return Registration(
        scan.name, state.params(), vertices, unposed, scan_distance, body_distance, absent, report
    )


def _limb_objections(specimen: Specimen, posed: RegisteredPose) -> list[str]:
    """Return why limbs of a rigged body may be on wrong ones; where all are named there is no doubt of that."""
    pairs, template = posed.start.pairs, specimen.template
    if not template.rigged or (pairs and set(pairs) <= set(specimen.known_pairs)):
        return []
    of_body, of_scan = (len(curves.points) - len(pairs) for curves in (template.curves, specimen.curves))
    return limb_objections(of_body, of_scan, posed.rival)


def _limb_cautions(specimen: Specimen) -> list[str]:
    return limb_cautions(specimen.template.curves.n_left_out, specimen.curves.n_left_out, MOST_LIMBS)


def _pose_cautions(specimen: Specimen, state: SurfaceState) -> list[str]:
    turns = state.params().body_pose
    rotation_rms = float(turns.square().mean().sqrt()) if turns.numel() else 0.0
    return pose_cautions(rotation_rms, specimen.template.priors.sizes.pose_sd)


def _sizes_of(priors: PriorSizes | Mapping[str, float] | None) -> PriorSizes:
    if not isinstance(priors, Mapping):
        return priors or PriorSizes()
    reject_unknown('MeshRegistrant.priors', 'key', priors, list(PriorSizes.__dataclass_fields__))
    return PriorSizes(**priors)
