"""One scan that a template is registered to, and the least-squares problems that this makes."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from smilfit.body_models import BodyModelData
from smilfit.body_models.data import KeypointDefinition
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.scans.registration.limbs import LimbCurves, RigidStart, limb_curves, limb_places
from smilfit.scans.registration.posed_surface import SurfaceState
from smilfit.scans.registration.registration_problem import RegistrationProblem
from smilfit.scans.registration.scan import Scan
from smilfit.scans.registration.stages import DeformationStage, RegistrationStage
from smilfit.scans.registration.surface_terms import (
    Matched,
    PlaceTargets,
    SurfaceSamples,
    SurfaceWeights,
    joined_places,
    part_weights,
    point_rows,
    sample_by_part,
)
from smilfit.scans.registration.template import Template

# How well a landmark is known, share of the scan's extent, and of how many such a difference counts fully: in the
# first stages nearly any, so that landmarks lead; then few, so that one wrong name does not bend the body.
LANDMARK_SIGMA, LEADING, TRUSTED = 0.01, 30.0, 3.0
# Shares of the extent: how well middles of limbs are known; no point of a surface is known better than LEAST_ERROR,
# for the model is not the animal; roughness below LEAST_NOISE is no noise.
LIMB_SIGMA, LEAST_ERROR, LEAST_NOISE = 0.02, 1e-3, 2e-4
# A robust width is at least so many times the noise.
NOISE_SIGMAS = 3.0
# A part on which fewer points of the scan lie counts less.
LEAST_POINTS = 20


def landmark_places(scan: Scan, data: BodyModelData, robust: float) -> PlaceTargets | None:
    """Return a scan's landmarks as places of the body's vertices; None for a scan without.

    Raises:
        UnknownNameError: a landmark that the body does not have, with the near names.
    """
    if not scan.landmarks:
        return None
    known = keypoint_definitions(data)
    rows = csr_matrix(np.stack([_landmark_row(data, known, name) for name in scan.landmarks]))
    targets = np.array(list(scan.landmarks.values()), dtype=np.float64)
    n = len(targets)
    return PlaceTargets(rows, targets, np.full(n, LANDMARK_SIGMA * scan.extent), np.full(n, robust))


def known_pairs(
    places: PlaceTargets | None, body: LimbCurves, scan: Scan, scan_curves: LimbCurves
) -> tuple[tuple[int, int], ...]:
    """Pair those limbs of body and scan that hold the same landmark.

    Args:
        places: landmarks; None for none.
    """
    if places is None:
        return ()
    nearest = cKDTree(scan.vertices).query(places.targets)[1]
    of_scan, of_body = _limb_of_vertices(scan_curves), _limb_of_vertices(body)
    result: dict[int, int] = {}
    for row, vertex in enumerate(nearest):
        mine = int(of_body[places.rows[row].toarray().argmax()])
        theirs = int(of_scan[vertex])
        # Two landmarks of one limb on two of the other say nothing sure of either.
        if mine >= 0 and theirs >= 0 and mine not in result and theirs not in result.values():
            result[mine] = theirs
    return tuple(result.items())


def _limb_of_vertices(curves: LimbCurves) -> np.ndarray:
    """Number the limb of every vertex; -1 on the trunk."""
    out = np.full(len(curves.limbs.height), -1)
    for k, limb in enumerate(curves.limbs.limbs):
        out[limb.vertices] = k
    return out


def _landmark_row(data: BodyModelData, known: Mapping[str, KeypointDefinition], name: str) -> np.ndarray:
    """Return the shares of vertices in a named point: a keypoint of the skin, a vertex number, or a joint."""
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
        raise UnknownNameError(
            f'landmark {name!r}: must be a keypoint on the skin of {data.name}, a joint with a regressor, or a '
            f'number of a vertex. {did_you_mean(name, [*known, *data.joint_names])}'
        )
    return row


class Specimen:
    """One scan, and what is registered to it.

    Args:
        per_part: points drawn of each part of the body.
        scan_points: most points of the scan that are compared.

    Raises:
        KeyError: a landmark that the body does not have.
    """

    def __init__(self, template: Template, scan: Scan, per_part: int, scan_points: int, seed: int) -> None:
        self.template, self.scan, self.surface = template, scan, template.surface
        rng = np.random.default_rng(seed)
        self.curves = limb_curves(scan.vertices, scan.graph)
        faces, part = self.surface.faces, self.surface.part
        self.samples = sample_by_part(template.rest, faces, part, per_part, rng)
        index = np.arange(len(scan.vertices))
        if len(index) > scan_points:
            index = np.sort(rng.choice(index, scan_points, replace=False))
        self.index = index
        self.noise = scan.roughness if scan.roughness > LEAST_NOISE * scan.extent else 0.0
        self.landmarks = landmark_places(scan, self.surface.data, TRUSTED)
        self.leading_landmarks = landmark_places(scan, self.surface.data, LEADING)
        self.known_pairs = known_pairs(self.landmarks, template.curves, scan, self.curves)
        self.none_absent = np.zeros(self.surface.data.n_joints, dtype=bool)

    def sigma(self, share: float) -> float:
        """Return a robust width, world unit, of a share of the extent."""
        return max(share * self.scan.extent, NOISE_SIGMAS * self.noise)

    def unpaired(self, start: RigidStart) -> set[int]:
        """Return the limbs of the body for which the scan has no counterpart; none where none is paired."""
        if not start.pairs:
            return set()
        return set(range(len(self.template.curves.points))) - {mine for mine, _ in start.pairs}

    def places(self, start: RigidStart, only: int | None = None) -> PlaceTargets | None:
        """Return where the middles of limbs lie, of all paired ones or of one."""
        pairs = [p for p in start.pairs if only is None or p[0] == only]
        sigma = LIMB_SIGMA * self.scan.extent
        return limb_places(self.template.curves, self.curves, pairs, start.scale, sigma)

    def place_problem(
        self, places: PlaceTargets | None, free: Bool[np.ndarray, ' P'], absent: Bool[np.ndarray, ' J']
    ) -> RegistrationProblem:
        """Make the problem of limbs' middles and landmarks alone, which lead."""
        known = joined_places(places, self.leading_landmarks)
        weights = SurfaceWeights(0.1 * self.scan.extent, template=0.0, scan=0.0)
        return self._problem(weights, free, known, absent)

    def surface_problem(
        self,
        state: SurfaceState,
        stage: RegistrationStage,
        absent: Bool[np.ndarray, ' J'],
        places: PlaceTargets | None = None,
    ) -> RegistrationProblem:
        """Make the problem of a stage; points of the scan are weighed by where the state has them.

        Args:
            absent: joints that the scan does not show.
            places: middles of limbs that draw; None for none.
        """
        cosine = math.cos(math.radians(stage.max_normal_angle_deg))
        weights = SurfaceWeights(self.sigma(stage.sigma), 1.0, 1.0, stage.along, cosine)
        landmarks = self.leading_landmarks if stage.limbs else self.landmarks
        free = self.unknowns_named(stage.fit)
        problem = self._problem(weights, free, joined_places(places, landmarks), absent)
        term = problem.from_scan(self.surface.vertices(state).numpy())
        first = np.asarray(term.rows.argmax(1)).ravel()
        part = np.where(np.isfinite(term.distance), self.surface.part[first], -1)
        if not stage.by_noise:
            return replace(problem, index_weight=part_weights(part, LEAST_POINTS))
        unit = weights.precision * weights.sigma / max(self.noise, LEAST_ERROR * self.scan.extent)
        return replace(problem, index_weight=np.where(part >= 0, unit**2, 0.0), noise=self.noise)

    def vertex_problem(
        self, stage: DeformationStage, absent: Bool[np.ndarray, ' J'], places: PlaceTargets | None
    ) -> RegistrationProblem:
        """Make the problem of moving all vertices by themselves: every one is a point, or it would not be drawn."""
        weights = SurfaceWeights(self.sigma(stage.sigma), along=stage.along)
        problem = self._problem(
            weights, self.unknowns_named(()), joined_places(places, self.landmarks), absent
        )
        here = ~absent[self.surface.part]
        weight = here / max(1, here.sum()) * len(here)
        return replace(
            problem,
            samples=replace(self._every_vertex, weight=weight),
            index_weight=np.full(len(self.index), here.sum() / len(self.index)),
            noise=self.noise,
        )

    def distances(
        self, vertices: Float[np.ndarray, 'V 3']
    ) -> tuple[Float[np.ndarray, ' N'], Float[np.ndarray, ' V']]:
        """Measure from every vertex of the scan to a surface, and from its every vertex to the scan."""
        n = len(self.scan.vertices)
        weights = SurfaceWeights(self.sigma(0.01), least_cosine=-1.0)
        problem = self._problem(weights, self.unknowns_named(()), None, self.none_absent)
        every = replace(problem, index=np.arange(n), index_weight=np.ones(n), samples=self._every_vertex)
        return every.from_scan(vertices).distance, every.to_scan(vertices).distance

    def to_scan(self, state: SurfaceState, stage: RegistrationStage) -> Matched:
        """Match the samples of the whole body with the scan, normals compared as in a stage."""
        cosine = math.cos(math.radians(stage.max_normal_angle_deg))
        weights = SurfaceWeights(self.sigma(stage.sigma), along=stage.along, least_cosine=cosine)
        problem = self._problem(weights, self.unknowns_named(()), None, self.none_absent)
        return problem.to_scan(self.surface.vertices(state).numpy())

    def unknowns_named(self, names: tuple[str, ...]) -> Bool[np.ndarray, ' P']:
        """Mark unknowns by name; those that this body does not have are left out."""
        out = np.zeros(self.surface.n_unknowns, dtype=bool)
        for name in names:
            if name in self.surface.slices:
                out[self.surface.slices[name]] = True
        return out

    def unknowns_of(self, joints: tuple[int, ...]) -> Bool[np.ndarray, ' P']:
        """Mark the unknowns of some joints."""
        out = np.zeros(self.surface.n_unknowns, dtype=bool)
        for name in ('turns', 'log_joint_scales', 'joint_offsets'):
            if name in self.surface.slices:
                start = self.surface.slices[name].start + 3 * np.array(joints, dtype=int)
                out[(start[:, None] + np.arange(3)).ravel()] = True
        return out

    def _problem(
        self,
        weights: SurfaceWeights,
        free: Bool[np.ndarray, ' P'],
        places: PlaceTargets | None,
        absent: Bool[np.ndarray, ' J'],
    ) -> RegistrationProblem:
        samples = replace(self.samples, weight=self.samples.weight * ~absent[self.samples.part])
        kept = ~absent[self.surface.part[self.surface.faces[:, 0]]]
        return RegistrationProblem(
            self.surface, self.scan, samples, self.index, np.ones(len(self.index)), weights,
            self.template.priors, free, places, kept,
        )  # fmt: skip

    @cached_property
    def _every_vertex(self) -> SurfaceSamples:
        """Return every vertex as a point of the surface, with one of the triangles around it."""
        faces, n = self.surface.faces, len(self.surface.part)
        of_vertex = np.zeros(n, dtype=int)
        of_vertex[faces.ravel()] = np.repeat(np.arange(len(faces)), 3)
        rows = point_rows(np.arange(n)[:, None], np.ones((n, 1)), n)
        return SurfaceSamples(rows, of_vertex, self.surface.part, np.ones(n))
