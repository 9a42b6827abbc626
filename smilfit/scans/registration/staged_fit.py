"""Finds pose, place and sizes of one specimen: from several starts, coarse to fine, with lost limbs tried anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool
from scipy.spatial import cKDTree

from smilfit.scans.registration.limbs import RigidStart, exchanged_starts, rigid_starts
from smilfit.scans.registration.posed_surface import SurfaceState
from smilfit.scans.registration.registration_problem import Evaluation, RegistrationProblem
from smilfit.scans.registration.specimen import Specimen
from smilfit.scans.registration.stages import PLACE, RegistrationStage
from smilfit.scans.registration.surface_terms import PlaceTargets
from smilfit.solvers import LevenbergMarquardt, StopReason

# So many steps without a gain are the end.
STILL = 5
# Shares of the extent: limbs a quarter of which is farther off are tried anew; scan nearer than this shows a joint.
LOST_LIMB, SHOWN_WITHIN = 0.012, 0.012
# Of the extent: where a tenth of the vertices ended farther away, two starts ended at different places.
ELSEWHERE = 0.05
# The robust widths through which a limb that is tried anew goes, shares of the extent, before its stage's own.
LIMB_WIDTH = 0.04
# Of a start, before surfaces draw: limbs' middles and landmarks alone.
BY_PLACES = RegistrationStage(0.1, PLACE, n_iter=30, ftol=1e-2)


def axis_starts(body: np.ndarray, scan: np.ndarray, count: int, rounds: int = 15) -> list[RigidStart]:
    """Lay principal axes upon each other in 24 ways, let each come to rest by closest points, and keep the best.

    Args:
        body: points of the body's surface at rest.
        scan: points of the scan's.
    """
    rng = np.random.default_rng(0)
    scan = scan[rng.permutation(len(scan))[:1500]]
    body = body[rng.permutation(len(body))[:1500]]
    own, own_centre, own_size = _axes(body)
    other, other_centre, other_size = _axes(scan)
    tree, scale = cKDTree(scan), other_size / own_size
    result = []
    for rotation_matrix in _cube_rotations():
        rotation = other @ rotation_matrix @ own.T
        shift, size = other_centre - scale * rotation @ own_centre, scale
        for _ in range(rounds):
            placed = size * body @ rotation.T + shift
            away, index = tree.query(placed)
            near = away <= np.quantile(away, 0.8)
            x, y = body[near], scan[index[near]]
            mx, my = x.mean(0), y.mean(0)
            u, s, vt = np.linalg.svd((y - my).T @ (x - mx))
            sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
            rotation = (u * sign) @ vt
            size = float(np.clip((s * sign).sum() / np.square(x - mx).sum(), 0.7 * scale, 1.4 * scale))
            shift = my - size * rotation @ mx
        placed = size * body @ rotation.T + shift
        cost = np.sort(tree.query(placed)[0])[: int(0.9 * len(placed))].mean()
        cost += np.sort(cKDTree(placed).query(scan)[0])[: int(0.9 * len(scan))].mean()
        result.append(RigidStart(rotation, shift, size, (), float(cost)))
    result.sort(key=lambda s: s.cost)
    kept: list[RigidStart] = []
    for start in result:
        if all(np.trace(start.rotation.T @ k.rotation) < 2.6 for k in kept):
            kept.append(start)
    return kept[:count]


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    centre = points.mean(0)
    _, s, vt = np.linalg.svd(points - centre, full_matrices=False)
    axes = vt.T
    axes[:, 2] *= np.sign(np.linalg.det(axes))
    return axes, centre, float(np.sqrt(np.square(s).sum() / len(points)))


def _cube_rotations() -> list[np.ndarray]:
    out = []
    for i, j in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        for a in (1, -1):
            for b in (1, -1):
                rotation = np.zeros((3, 3))
                rotation[0, i], rotation[1, j] = a, b
                rotation[2] = np.cross(rotation[0], rotation[1])
                out.append(rotation)
    return out


@dataclass(frozen=True)
class RegisteredPose:
    """A registration by parameters, and what led to it.

    Attributes:
        at: the state and its energy.
        start: where it began.
        absent: joints that the scan does not show.
        rival: the energy of the likeliest start that ended elsewhere, times the best one's; None where none did.
    """

    at: Evaluation
    start: RigidStart
    absent: Bool[np.ndarray, ' J']
    rival: float | None = None


class StagedFit:
    """Runs the stages on one specimen.

    Args:
        stages: coarse to fine; the first is run from every start.

    Attributes:
        history: of every start, stage and limb, what came of it.
    """

    def __init__(self, specimen: Specimen, stages: Sequence[RegistrationStage], n_starts: int) -> None:
        self.specimen, self.stages, self.n_starts = specimen, stages, n_starts
        self.template, self.surface = specimen.template, specimen.surface
        self.solver = LevenbergMarquardt(gnc_schedule=())
        self.history: list[dict[str, object]] = []

    def best_start(self) -> RegisteredPose:
        """Follow the likeliest starts through the first stage; the lowest energy wins.

        Raises:
            ValueError: no start could be made.
        """
        specimen = self.specimen
        starts = rigid_starts(
            self.template.curves, specimen.curves, specimen.scan.extent, self.n_starts, specimen.known_pairs
        )
        if not starts:
            starts = axis_starts(self.template.rest, specimen.scan.vertices, self.n_starts)
        if not starts:
            raise ValueError(
                f'{specimen.scan.name}: a start must be found; none was. Is the scan a flat sheet?'
            )
        result = [self._followed(start) for start in starts]
        best = min(result, key=lambda f: float(f.at.energy))
        best = self._with_exchanged_limbs(best)
        return replace(best, rival=self._rival(best, result))

    def _rival(self, best: RegisteredPose, posed: Sequence[RegisteredPose]) -> float | None:
        """Return how much worse than the best start the next is that ended at another place."""
        elsewhere = [
            float(other.at.energy / best.at.energy)
            for other in posed
            if np.percentile(np.linalg.norm(other.at.vertices - best.at.vertices, axis=1), 90)
            > ELSEWHERE * self.specimen.scan.extent
        ]
        return min(elsewhere, default=None)

    def refined(self, posed: RegisteredPose) -> RegisteredPose:
        """Go through all stages but the first; limbs that are lost after the second are tried anew."""
        for number, stage in enumerate(self.stages[1:], 1):
            at = self._stage(posed.at.point, stage, posed.absent)
            posed = replace(posed, at=at)
            if number == 1:
                posed = self._with_lost_limbs(posed, stage)
            posed = replace(posed, absent=self._absent(posed.at.point, posed.start, stage))
        point = self._put_to_rest(posed.at.point, posed.absent)
        return replace(posed, at=replace(posed.at, point=point))

    def _with_exchanged_limbs(self, best: RegisteredPose) -> RegisteredPose:
        """Return limbs of the scan to those that have none, as long as the energy falls."""
        tried = {best.start.pairs}
        while True:
            starts = exchanged_starts(best.start, self.template.curves, self.specimen.curves, self.n_starts)
            starts = [s for s in starts if s.pairs not in tried]
            tried |= {s.pairs for s in starts}
            result = min((self._followed(s) for s in starts), key=lambda f: float(f.at.energy), default=best)
            if float(result.at.energy) >= float(best.at.energy):
                return best
            best = result

    def _followed(self, start: RigidStart) -> RegisteredPose:
        specimen, stage = self.specimen, self.stages[0]
        places = specimen.places(start)
        state = self._placed(start)
        absent = specimen.none_absent.copy()
        for limb in specimen.unpaired(start):
            absent[list(self.template.limb_joints.of_limb[limb])] = True
        if self.template.rigged and (places is not None or specimen.leading_landmarks is not None):
            free = specimen.unknowns_named(BY_PLACES.fit)
            problem = specimen.place_problem(places, free, specimen.none_absent)
            state = self._minimised(problem, state, BY_PLACES).point
        drawing = places if stage.limbs and self.template.rigged else None
        at = self._stage(state, stage, absent, drawing)
        self.history.append({'start': start.pairs, 'cost': start.cost, 'energy': float(at.energy)})
        return RegisteredPose(at, start, self._absent(at.point, start, stage))

    def _placed(self, start: RigidStart) -> SurfaceState:
        """Put the rest pose where a similarity says."""
        rest = self.surface.rest()
        root = self.surface.body.rest_joints(rest.betas.unsqueeze(0))[0, 0].numpy()
        turns = rest.rotations.clone()
        turns[0] = torch.from_numpy(start.rotation)
        shift = start.shift + start.scale * (start.rotation @ root - root)
        size = torch.tensor(math.log(start.scale), dtype=torch.float64)
        return replace(rest, rotations=turns, transl=torch.from_numpy(shift), log_scale=size)

    def _stage(
        self,
        state: SurfaceState,
        stage: RegistrationStage,
        absent: Bool[np.ndarray, ' J'],
        places: PlaceTargets | None = None,
        joints: tuple[int, ...] | None = None,
    ) -> Evaluation:
        """Run one stage; of some joints alone, where they are given."""
        problem = self.specimen.surface_problem(state, stage, absent, places)
        if joints is not None:
            problem = replace(problem, free=problem.free & self.specimen.unknowns_of(joints))
        return self._minimised(problem, state, stage)

    def _minimised(
        self, problem: RegistrationProblem, state: SurfaceState, stage: RegistrationStage
    ) -> Evaluation:
        still = _Still(stage.ftol)
        point, _, solved = self.solver.minimise(problem, state, stage.n_iter, stage.ftol, still)
        at = problem.evaluate(point)
        self.history.append(
            {
                'sigma': problem.weights.sigma / self.specimen.scan.extent,
                'surfaces': problem.weights.scan > 0,
                'steps': solved.n_steps,
                'reason': (StopReason.CONVERGED if still.ended else solved.reason).value,
                'energy': float(at.energy),
            }
        )
        return at

    def _absent(
        self, state: SurfaceState, start: RigidStart, stage: RegistrationStage
    ) -> Bool[np.ndarray, ' J']:
        specimen = self.specimen
        if not self.template.rigged:
            return specimen.none_absent
        near = max(SHOWN_WITHIN * specimen.scan.extent, 2 * specimen.sigma(min(stage.sigma, 0.01)))
        limb_joints, unpaired = self.template.limb_joints, specimen.unpaired(start)
        vertices = self.surface.vertices(state).numpy()
        doubled = limb_joints.doubled(unpaired, self.surface.part, vertices, specimen.scan.vertices)
        return limb_joints.absent(specimen.samples, specimen.to_scan(state, stage), near, unpaired, doubled)

    def _put_to_rest(self, state: SurfaceState, joints: Bool[np.ndarray, ' J']) -> SurfaceState:
        """Leave some joints at their prior."""
        if not joints.any():
            return state
        gone, rest = torch.from_numpy(joints), self.surface.rest()
        changed = {
            name: torch.where(gone.reshape(-1, *[1] * (value.dim() - 1)), getattr(rest, name), value)
            for name in ('rotations', 'log_joint_scales', 'joint_offsets')
            if (value := getattr(state, name)) is not None
        }
        return replace(state, **changed)

    def _with_lost_limbs(self, posed: RegisteredPose, stage: RegistrationStage) -> RegisteredPose:
        """Try limbs anew that do not lie on the scan: from rest, drawn by their own middles; kept where it gains."""
        specimen, limb_joints = self.specimen, self.template.limb_joints
        at, absent = posed.at, posed.absent
        offs = limb_joints.offs(specimen.samples, specimen.to_scan(at.point, stage))
        limit = max(LOST_LIMB * specimen.scan.extent, 2 * specimen.noise)
        for limb in np.nonzero(offs > limit)[0].tolist():
            joints = limb_joints.of_limb[limb]
            places = specimen.places(posed.start, limb)
            if not joints or absent[list(joints)].all() or places is None:
                continue
            tried = self._limb_anew(at.point, joints, places, stage, absent)
            gained = float(tried.energy) < float(at.energy)
            self.history.append({'limb': limb, 'tried_again': True, 'gained': gained})
            at = tried if gained else at
        return replace(posed, at=at)

    def _limb_anew(
        self,
        state: SurfaceState,
        joints: tuple[int, ...],
        places: PlaceTargets,
        stage: RegistrationStage,
        absent: Bool[np.ndarray, ' J'],
    ) -> Evaluation:
        """Register one limb from rest, then all."""
        specimen = self.specimen
        own = np.isin(np.arange(len(absent)), joints)
        state = self._put_to_rest(state, own)
        free = specimen.unknowns_named(PLACE) & specimen.unknowns_of(joints)
        problem = specimen.place_problem(places, free, absent)
        state = self._minimised(problem, state, stage).point
        for sigma in (LIMB_WIDTH, stage.sigma):
            state = self._stage(state, replace(stage, sigma=sigma), absent, joints=joints).point
        return self._stage(state, stage, absent)


class _Still:
    """Ends a stage whose energy has come to rest: closest points jump, so the last steps are often rejected."""

    def __init__(self, ftol: float) -> None:
        self.ftol, self.ended, self._energies = ftol, False, [math.inf]

    def __call__(self, step: int, energy: float) -> bool:
        self._energies.append(energy)
        before = self._energies[-STILL - 1] if len(self._energies) > STILL else math.inf
        self.ended = before - energy <= self.ftol * energy
        return self.ended
