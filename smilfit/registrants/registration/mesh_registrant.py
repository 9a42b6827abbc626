"""Registers a body model to scanned meshes."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from smilfit.body_models import SMIL
from smilfit.registrants.registration.limb_matching import (
    LimbCurves,
    RigidStart,
    body_graph,
    limb_curves,
    limb_places,
    rigid_starts,
)
from smilfit.registrants.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.registrants.registration.priors import PriorSizes, RegistrationPriors
from smilfit.registrants.registration.problem import (
    Evaluation,
    PlaceTargets,
    RegistrationProblem,
    SurfaceWeights,
)
from smilfit.registrants.registration.sampling import part_weights, sample_by_part
from smilfit.registrants.registration.scan import Scan
from smilfit.registry import REGISTRANTS
from smilfit.solvers import LevenbergMarquardt


@dataclass(frozen=True)
class RegistrationStage:
    """One width of the surface terms, and what moves.

    Attributes:
        sigma: distance at which a point counts half, share of the scan's extent; never below three times the noise.
        fit: names of unknowns (`turns`, `transl`, `log_scale`, `betas`, `log_joint_scales`).
        along: weight of the distance along the surface, beside 1 across it.
        limbs: whether the middles of limbs still draw.
        least_cosine: of the angle between normals.
        n_iter: most steps; the end is convergence.
        ftol: relative decrease of the energy that counts as none.
    """

    sigma: float
    fit: tuple[str, ...]
    along: float = 0.1
    limbs: bool = False
    least_cosine: float = 0.0
    n_iter: int = 40
    ftol: float = 1e-3


PLACE = ('turns', 'transl', 'log_scale')
ALL = (*PLACE, 'betas', 'log_joint_scales')
STAGES = (
    RegistrationStage(0.04, ALL, 0.3, limbs=True, n_iter=25, ftol=1e-2),
    RegistrationStage(0.015, ALL, 0.1, limbs=False, n_iter=40),
    RegistrationStage(0.006, ALL, 0.03, n_iter=40),
    RegistrationStage(0.002, ALL, 0.01, n_iter=60, ftol=1e-4),
)


@dataclass(frozen=True)
class Registration:
    """A body registered to a scan."""

    name: str
    state: SurfaceState
    vertices: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)


@REGISTRANTS.register_module()
class MeshRegistrant:
    """Registers.

    Args:
        body_model: the body.
        stages: coarse to fine.
        priors: what is known of specimens.
        n_starts: orientations that are followed.
        per_part: points drawn of each part of the body.
        scan_points: most points of the scan that are compared.
        seed: of the drawn points.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: tuple[RegistrationStage, ...] = STAGES,
        priors: PriorSizes | None = None,
        n_starts: int = 3,
        per_part: int = 40,
        scan_points: int = 4000,
        seed: int = 0,
    ) -> None:
        self.surface = PosedSurface(body_model)
        self.stages, self.priors = tuple(stages), RegistrationPriors(self.surface, priors or PriorSizes())
        self.n_starts, self.per_part, self.scan_points, self.seed = n_starts, per_part, scan_points, seed
        self.rest = self.surface.rest_vertices(self.surface.rest()).numpy()
        self.graph = body_graph(self.rest, self.surface.faces)
        self.curves = limb_curves(self.rest, self.graph)
        self.solver = LevenbergMarquardt(gnc_schedule=())
        self.log = []

    def __call__(self, scan: Scan) -> Registration:
        """Register one."""
        began = time.perf_counter()
        curves = limb_curves(scan.vertices, scan.graph)
        starts = rigid_starts(self.curves, curves, scan.extent, self.n_starts)
        tried = []
        for start in starts:
            tried.append(self._coarse(scan, curves, start))
            self.log.append((time.perf_counter() - began, 'start', start.cost, float(tried[-1].energy)))
        best = int(np.argmin([float(t.energy) for t in tried]))
        at = tried[best]
        for stage in self.stages[1:]:
            at = self._stage(scan, at.point, stage, None)
            self.log.append((time.perf_counter() - began, stage.sigma, float(at.energy)))
        return Registration(scan.name, at.point, at.vertices, {'seconds': time.perf_counter() - began})

    def _coarse(self, scan: Scan, curves: LimbCurves, start: RigidStart) -> Evaluation:
        state = self._placed(start)
        places = limb_places(
            self.rest, self.curves, self.graph, scan.vertices, curves, scan.graph, start.pairs,
            0.02 * scan.extent,
        )  # fmt: skip
        first = RegistrationStage(0.1, PLACE, n_iter=30, ftol=1e-2)
        at = self._stage(scan, state, first, places, surfaces=False)
        return self._stage(scan, at.point, self.stages[0], places if self.stages[0].limbs else None)

    def _placed(self, start: RigidStart) -> SurfaceState:
        """Put the rest pose where a similarity says."""
        rest = self.surface.rest()
        root = self.surface.body.rest_joints(rest.betas.unsqueeze(0))[0, 0].numpy()
        turns = rest.rotations.clone()
        turns[0] = torch.from_numpy(start.turn)
        shift = start.shift + start.scale * (start.turn @ root - root)
        return replace(
            rest, rotations=turns, transl=torch.from_numpy(shift), log_scale=torch.tensor(start.scale).double().log()
        )

    def _stage(
        self, scan: Scan, state: SurfaceState, stage: RegistrationStage, places: PlaceTargets | None,
        surfaces: bool = True,
    ) -> Evaluation:  # fmt: skip
        rng = np.random.default_rng(self.seed)
        samples = sample_by_part(self.rest, self.surface.faces, self.surface.part, self.per_part, rng)
        sigma = max(stage.sigma * scan.extent, 3 * scan.roughness)
        on = float(surfaces)
        weights = SurfaceWeights(sigma, on, on, stage.along, stage.least_cosine)
        free = np.zeros(self.surface.n_unknowns, dtype=bool)
        for name in stage.fit:
            free[self.surface.slices[name]] = True
        index = np.arange(len(scan.vertices))
        if len(index) > self.scan_points:
            index = np.sort(rng.choice(index, self.scan_points, replace=False))
        problem = RegistrationProblem(
            self.surface, scan, samples, (index, np.ones(len(index))), weights, self.priors, free, places
        )
        if surfaces:
            problem.index_weight = self._scan_weights(problem, state)
        point, _, _ = self.solver.minimise(problem, state, stage.n_iter, stage.ftol)
        return problem.evaluate(point)

    def _scan_weights(self, problem: RegistrationProblem, state: SurfaceState) -> np.ndarray:
        """Weigh the scan's points by the part that they are nearest to."""
        term = problem.from_scan(self.surface.vertices(state).numpy())
        first = np.asarray(term.rows.argmax(1)).ravel()
        part = np.where(np.isfinite(term.distance), self.surface.part[first], -1)
        return part_weights(part, 20)
