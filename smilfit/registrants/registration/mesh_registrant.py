"""Registers a rigged body to scanned meshes: pose, sizes, shape, then the skin."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from smilfit.body_models import SMIL, BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.registrants.registration.deformation import DeformationStage, RestDeformation, deform
from smilfit.registrants.registration.limb_matching import (
    RigidStart,
    body_graph,
    limb_curves,
    limb_places,
    rigid_starts,
)
from smilfit.registrants.registration.limb_presence import LimbJoints
from smilfit.registrants.registration.orientations import axis_starts
from smilfit.registrants.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.registrants.registration.priors import PriorSizes, RegistrationPriors
from smilfit.registrants.registration.problem import (
    Evaluation,
    Matched,
    PlaceTargets,
    RegistrationProblem,
    SurfaceWeights,
    joined_places,
)
from smilfit.registrants.registration.result import Registration, figures, unposed_of
from smilfit.registrants.registration.sampling import part_weights, point_rows, sample_by_part
from smilfit.registrants.registration.scan import Scan
from smilfit.registrants.registration.stages import (
    DEFORMATION,
    PLACE,
    STAGES,
    UNRIGGED,
    RegistrationStage,
    stages_of,
)
from smilfit.registry import REGISTRANTS
from smilfit.solvers import LevenbergMarquardt

# Shares of the extent.
LIMB_SIGMA, LANDMARK_SIGMA, LOST_LIMB, NOISE_SIGMAS = 0.02, 0.01, 0.012, 3.0
# No point of a surface is known better, share of the extent: the model is not the animal.
LEAST_ERROR = 1e-3
# Roughness below this share of the extent is no noise.
LEAST_NOISE = 2e-4


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
        if n_starts < 1 or per_part < 1 or scan_points < 100 or not len(stages):
            raise ValueError(
                'MeshRegistrant: n_starts and per_part must be 1 or more, scan_points 100 or more, and there must be '
                f'a stage; got {n_starts}, {per_part}, {scan_points} and {len(stages)} stages.'
            )
        self.surface = PosedSurface(body_model)
        self.rigged = body_model.n_joints > 1
        self.stages = stages_of(RegistrationStage, stages)
        default = DEFORMATION if self.rigged else UNRIGGED
        self.deformation = stages_of(DeformationStage, default if deformation is None else deformation)
        sizes = PriorSizes(**priors) if isinstance(priors, Mapping) else priors or PriorSizes()
        self.priors = RegistrationPriors(self.surface, sizes)
        self.n_starts, self.per_part, self.scan_points, self.seed = n_starts, per_part, scan_points, seed
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')
        self.rest = self.surface.rest_vertices(self.surface.rest()).numpy()
        self.graph = body_graph(self.rest, self.surface.faces)
        self.curves = limb_curves(self.rest, self.graph)
        self.limb_joints = LimbJoints.of(self.surface.data, self.surface.part, self.curves)
        self.solver = LevenbergMarquardt(gnc_schedule=())

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
        return _Specimen(self, scan).run()


@dataclass
class _Found:
    """A coarse registration and what led to it."""

    at: Evaluation
    start: RigidStart
    absent: np.ndarray


class _Specimen:
    """One registration: what does not change while it runs, and its steps."""

    def __init__(self, of: MeshRegistrant, scan: Scan) -> None:
        self.of, self.scan, self.surface = of, scan, of.surface
        rng = np.random.default_rng(of.seed)
        self.curves = limb_curves(scan.vertices, scan.graph)
        self.samples = sample_by_part(of.rest, self.surface.faces, self.surface.part, of.per_part, rng)
        index = np.arange(len(scan.vertices))
        if len(index) > of.scan_points:
            index = np.sort(rng.choice(index, of.scan_points, replace=False))
        self.index = index
        noise = scan.roughness
        self.noise = noise if noise > LEAST_NOISE * scan.extent else 0.0
        self.landmarks = self._landmarks()
        self.seconds: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []

    def run(self) -> Registration:
        """Go through all stages."""
        began = time.perf_counter()
        best = self._best_start()
        self.seconds['starts'] = time.perf_counter() - began
        at, absent = best.at, best.absent
        for number, stage in enumerate(self.of.stages[1:], 1):
            at = self._stage(at.point, stage, None, absent)
            if number == 1:
                at = self._lost_limbs(at, best, stage, absent)
            absent = self._absent(at, best.start, stage)
        at = replace(at, point=self._absent_at_rest(at.point, absent))
        self.seconds['stages'] = time.perf_counter() - began - self.seconds['starts']
        state = self._deformed(at.point, absent, best.start)
        self.seconds['all'] = time.perf_counter() - began
        return self._result(state, absent, best.start)

    def _best_start(self) -> _Found:
        starts = rigid_starts(self.of.curves, self.curves, self.scan.extent, self.of.n_starts)
        if not starts:
            starts = axis_starts(self.of.rest, self.scan.vertices, self.of.n_starts)
        found = [self._coarse(start) for start in starts]
        energies = [float(f.at.energy) for f in found]
        self.history += [
            {'start': k, 'cost': s.cost, 'limbs': len(s.pairs), 'energy': e}
            for k, (s, e) in enumerate(zip(starts, energies))
        ]
        return found[int(np.argmin(energies))]

    def _coarse(self, start: RigidStart) -> _Found:
        first = RegistrationStage(0.1, PLACE, n_iter=30, ftol=1e-2)
        places = self._places(start)
        none = np.zeros(self.surface.data.n_joints, dtype=bool)
        unpaired = set(range(len(self.of.curves.points))) - {mine for mine, _ in start.pairs}
        absent = none.copy()
        if start.pairs:
            for k in unpaired:
                absent[list(self.of.limb_joints.of_limb[k])] = True
        state = self._placed(start)
        if self.of.rigged and (places is not None or self.landmarks is not None):
            state = self._stage(state, first, places, none, surfaces=False).point
        stage = self.of.stages[0]
        at = self._stage(state, stage, places if stage.limbs and self.of.rigged else None, absent)
        return _Found(at, start, self._absent(at, start, stage))

    def _places(self, start: RigidStart, only: int | None = None) -> PlaceTargets | None:
        pairs = [p for p in start.pairs if only is None or p[0] == only]
        return limb_places(
            self.of.rest, self.of.curves, self.of.graph, self.scan.vertices, self.curves, self.scan.graph,
            pairs, LIMB_SIGMA * self.scan.extent,
        )  # fmt: skip

    def _landmarks(self) -> PlaceTargets | None:
        """Give the scan's named points as places of the body's vertices."""
        if not self.scan.landmarks:
            return None
        known = keypoint_definitions(self.surface.data)
        rows = []
        for name in self.scan.landmarks:
            rows.append(landmark_row(self.surface.data, known, name))
        targets = np.array(list(self.scan.landmarks.values()), dtype=np.float64)
        sigma = np.full(len(targets), LANDMARK_SIGMA * self.scan.extent)
        table = csr_matrix(np.stack(rows))
        return PlaceTargets(table, targets, sigma)

    def _placed(self, start: RigidStart) -> SurfaceState:
        """Put the rest pose where a similarity says."""
        rest = self.surface.rest()
        root = self.surface.body.rest_joints(rest.betas.unsqueeze(0))[0, 0].numpy()
        turns = rest.rotations.clone()
        turns[0] = torch.from_numpy(start.turn)
        shift = start.shift + start.scale * (start.turn @ root - root)
        size = torch.tensor(math.log(start.scale), dtype=torch.float64)
        return replace(rest, rotations=turns, transl=torch.from_numpy(shift), log_scale=size)

    def _sigma(self, share: float) -> float:
        return max(share * self.scan.extent, NOISE_SIGMAS * self.noise)

    def _stage(
        self, state: SurfaceState, stage: RegistrationStage, places: PlaceTargets | None, absent: np.ndarray,
        surfaces: bool = True, joints: Sequence[int] | None = None,
    ) -> Evaluation:  # fmt: skip
        """Run one stage; of some joints alone, where they are given."""
        problem = self._problem(state, stage, places, absent, surfaces)
        if joints is not None:
            problem.free &= self._unknowns_of(joints)
        point, _, solved = self.of.solver.minimise(problem, state, stage.n_iter, stage.ftol)
        at = problem.evaluate(point)
        self.history.append(
            {
                'sigma': problem.weights.sigma / self.scan.extent,
                'surfaces': surfaces,
                'steps': solved.n_steps,
                'reason': solved.reason.value,
                'energy': float(at.energy),
            }
        )
        return at

    def _problem(
        self, state: SurfaceState, stage: RegistrationStage, places: PlaceTargets | None, absent: np.ndarray,
        surfaces: bool = True,
    ) -> RegistrationProblem:  # fmt: skip
        on = float(surfaces)
        cosine = math.cos(math.radians(stage.max_normal_angle_deg))
        weights = SurfaceWeights(self._sigma(stage.sigma), on, on, stage.along, cosine)
        free = np.zeros(self.surface.n_unknowns, dtype=bool)
        for name in stage.fit:
            free[self.surface.slices[name]] = True
        samples = replace(self.samples, weight=self.samples.weight * ~absent[self.samples.part])
        kept = ~absent[self.surface.part[self.surface.faces[:, 0]]]
        problem = RegistrationProblem(
            self.surface, self.scan, samples, (self.index, np.ones(len(self.index))), weights,
            self.of.priors, free, joined_places(places, self.landmarks), kept,
        )  # fmt: skip
        if surfaces:
            term = problem.from_scan(self.surface.vertices(state).numpy())
            first = np.asarray(term.rows.argmax(1)).ravel()
            part = np.where(np.isfinite(term.distance), self.surface.part[first], -1)
            if stage.by_noise:
                noise = max(self.noise, LEAST_ERROR * self.scan.extent)
                unit = weights.precision * weights.sigma / noise
                problem.index_weight = np.where(part >= 0, unit**2, 0.0)
            else:
                problem.index_weight = part_weights(part, 20)
        return problem

    def _unknowns_of(self, joints: Sequence[int]) -> np.ndarray:
        out = np.zeros(self.surface.n_unknowns, dtype=bool)
        for name in ('turns', 'log_joint_scales'):
            for j in joints:
                start = self.surface.slices[name].start + 3 * j
                out[start : start + 3] = True
        return out

    def _to_scan(self, state: SurfaceState, stage: RegistrationStage) -> Matched:
        none = np.zeros(self.surface.data.n_joints, dtype=bool)
        return self._problem(state, stage, None, none, False).to_scan(self.surface.vertices(state).numpy())

    def _absent(self, at: Evaluation, start: RigidStart, stage: RegistrationStage) -> np.ndarray:
        unpaired = set(range(len(self.of.curves.points))) - {mine for mine, _ in start.pairs}
        near = max(0.012 * self.scan.extent, 2 * self._sigma(min(stage.sigma, 0.01)))
        if not self.of.rigged:
            return np.zeros(self.surface.data.n_joints, dtype=bool)
        return self.of.limb_joints.absent(
            self.samples, self._to_scan(at.point, stage), near, unpaired if start.pairs else set()
        )

    def _absent_at_rest(self, state: SurfaceState, absent: np.ndarray) -> SurfaceState:
        """Leave what is not there at its prior."""
        if not absent.any():
            return state
        gone = torch.from_numpy(absent)
        turns, logs = state.rotations.clone(), state.log_joint_scales.clone()
        turns[gone] = self.surface.rest().rotations[gone]
        logs[gone] = 0.0
        return replace(state, rotations=turns, log_joint_scales=logs)

    def _lost_limbs(
        self, at: Evaluation, best: _Found, stage: RegistrationStage, absent: np.ndarray
    ) -> Evaluation:
        """Try limbs anew that do not lie on the scan: from rest, drawn by their own middles; kept where it gains."""
        offs = self.of.limb_joints.offs(self.samples, self._to_scan(at.point, stage))
        limit = max(LOST_LIMB * self.scan.extent, 2 * self.noise)
        for k in np.nonzero(offs > limit)[0].tolist():
            joints = self.of.limb_joints.of_limb[k]
            if not joints or absent[list(joints)].all():
                continue
            places = self._places(best.start, k)
            if places is None:
                continue
            rest = torch.zeros(len(absent), dtype=torch.bool)
            rest[list(joints)] = True
            state = self._absent_at_rest(at.point, rest.numpy())
            coarse = replace(stage, sigma=0.1, fit=PLACE)
            state = self._stage(state, coarse, places, absent, False, joints).point
            for sigma in (0.04, stage.sigma):
                tried = self._stage(state, replace(stage, sigma=sigma), None, absent, True, joints)
                state = tried.point
            tried = self._stage(state, stage, None, absent)
            gained = float(tried.energy) < float(at.energy)
            self.history.append({'limb': k, 'tried_again': True, 'gained': gained})
            at = tried if gained else at
        return at

    def _deformed(self, state: SurfaceState, absent: np.ndarray, start: RigidStart) -> SurfaceState:
        """Move the rest vertices."""
        slopes_at = torch.zeros(self.surface.n_unknowns, dtype=torch.float64)
        linear, shift = (x.numpy() for x in self.surface.blended(self.surface.maps(state, slopes_at)))
        rest = unposed_of(self.surface, state)
        vertices = rest
        for stage in self.of.deformation:
            spec = RegistrationStage(stage.sigma, along=stage.along)
            places = self._places(start) if stage.limbs else None
            problem = self._problem(state, spec, places, absent)
            # Every vertex is a point: what is not drawn would not move.
            on_faces = np.zeros(len(rest), dtype=int)
            on_faces[self.surface.faces.ravel()] = np.repeat(np.arange(len(self.surface.faces)), 3)
            here = ~absent[self.surface.part]
            problem.samples = replace(
                problem.samples,
                rows=point_rows(np.arange(len(rest))[:, None], np.ones((len(rest), 1)), len(rest)),
                faces=on_faces, part=self.surface.part, weight=here / max(1, here.sum()) * len(rest),
            )  # fmt: skip
            problem.index_weight = np.full(len(self.index), here.sum() / len(self.index))
            stiff = RestDeformation(rest, self.surface.faces, stage.strain)
            vertices, rounds, still = deform(
                stiff, vertices, linear, shift, problem.matched, stage.n_iter,
                max(stage.ftol * self.scan.extent, 0.02 * self.noise),
            )  # fmt: skip
            self.history.append(
                {'deformation': stage.sigma, 'steps': rounds, 'reason': 'converged' if still else 'all done'}
            )
        return replace(state, rest_offsets=state.rest_offsets + torch.from_numpy(vertices - rest))

    def _result(self, state: SurfaceState, absent: np.ndarray, start: RigidStart) -> Registration:
        none = np.zeros(self.surface.data.n_joints, dtype=bool)
        spec = RegistrationStage(0.01)
        vertices = self.surface.vertices(state).numpy()
        problem = self._problem(state, spec, None, none, False).with_weights(least_cosine=-1.0)
        n, v = len(self.scan.vertices), len(vertices)
        problem.index, problem.index_weight = np.arange(n), np.ones(n)
        rows = point_rows(np.arange(v)[:, None], np.ones((v, 1)), v)
        problem.samples = replace(
            problem.samples, rows=rows, faces=np.zeros(v, int), part=self.surface.part, weight=np.ones(v)
        )
        scan_distance = problem.from_scan(vertices).distance
        body_distance = problem.to_scan(vertices).distance
        names = self.surface.data.joint_names
        gone = tuple(names[j] for j in np.nonzero(absent)[0])
        shown = ~absent[self.surface.part]
        extent = self.scan.extent
        report = {
            'distance_scan_to_body': figures(scan_distance, extent),
            'distance_body_to_scan': figures(body_distance[shown], extent),
            'converged': bool(self.history and self.history[-1].get('reason') == 'converged'),
            'noise': self.noise,
            'limbs_of_scan': len(self.curves.points),
            'limbs_paired': len(start.pairs),
            'seconds': self.seconds,
            'scan': self.scan.report,
            'history': self.history,
        }
        return Registration(
            self.scan.name, state.params(), vertices, unposed_of(self.surface, state), scan_distance,
            body_distance, gone, report,
        )  # fmt: skip


def landmark_row(data: BodyModelData, known: Mapping[str, Any], name: str) -> np.ndarray:
    """Give the shares of vertices in a named point: a keypoint of the skin, a vertex number, or a joint.

    Raises:
        KeyError: a name that the body does not have.
    """
    row = np.zeros(data.n_vertices)
    definition = known.get(name)
    if isinstance(definition, Mapping):
        for vertex, share in definition.items():
            row[int(vertex)] = share
    elif name in data.joint_names and data.joint_regressor is not None:
        row = data.joint_regressor.to_dense()[data.joint_names.index(name)]
    elif name.isdigit() and int(name) < data.n_vertices:
        row[int(name)] = 1.0
    else:
        raise KeyError(
            f'landmark {name!r}: must be a keypoint on the skin of {data.name}, a joint with a regressor, or a '
            'number of a vertex. Name it as the model does.'
        )
    return row
