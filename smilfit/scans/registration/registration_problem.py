"""What is minimised for one specimen: distances between two surfaces both ways, places that are known, and priors.

Closest points are found anew at every evaluation, so the energy is that of the surfaces and not of a matching, and a
step is judged by it.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from torch import Tensor

from smilfit.geometry.surface_graph import mean_curvature
from smilfit.geometry.surface_search import FacesAround, closest_on_surface
from smilfit.renderers import vertex_normals
from smilfit.scans.registration.posed_surface import PosedSurface, SurfaceState
from smilfit.scans.registration.registration_priors import RegistrationPriors
from smilfit.scans.registration.scan import Scan
from smilfit.scans.registration.surface_terms import (
    Matched,
    PlaceTargets,
    SurfaceSamples,
    SurfaceWeights,
    point_rows,
)
from smilfit.solvers.processes import Processes


@dataclass(frozen=True)
class Evaluation:
    """The energy at a state, and what it is made of."""

    point: SurfaceState
    energy: Tensor
    terms: tuple[Matched, ...]
    vertices: np.ndarray


@dataclass(frozen=True)
class RegistrationStep:
    """A damped step."""

    step: Tensor
    predicted_reduction: Tensor


@dataclass
class RegistrationProblem:
    """The least-squares problem of one specimen, for `LevenbergMarquardt`.

    Attributes:
        surface: of the body.
        scan: to register to.
        samples: of the body's surface, by part; those of weight 0 are left out.
        index: numbers of the scan's vertices that are compared.
        index_weight: of these.
        weights: of the terms.
        priors: of the unknowns.
        free: which unknowns move.
        places: points that are known; None for none.
        kept_faces: triangles of the body that scan points may lie on; None for all.
        noise: standard deviation of the scan's coordinates, world unit. A thin limb looks thicker by it: points that
            are off by independent noise s lie outside of a surface of mean curvature H by s^2 H on average (half of
            s^2 times the Laplacian of the signed distance), which is taken off.
    """

    surface: PosedSurface
    scan: Scan
    samples: SurfaceSamples
    index: Int[np.ndarray, ' n']
    index_weight: Float[np.ndarray, ' n']
    weights: SurfaceWeights
    priors: RegistrationPriors
    free: Bool[np.ndarray, ' P']
    places: PlaceTargets | None = None
    kept_faces: Bool[np.ndarray, ' F'] | None = None
    noise: float = 0.0
    coupled: bool = False
    processes: Processes = field(default_factory=Processes)

    @cached_property
    def _around(self) -> FacesAround:
        kept = self.kept_faces
        faces = self.surface.faces if kept is None or not kept.any() else self.surface.faces[kept]
        return FacesAround.of(torch.as_tensor(faces), self.surface.data.n_vertices)

    def evaluate(self, point: SurfaceState, robust_scale: float = 1.0) -> Evaluation:
        """Find closest points and give the energy."""
        vertices = self.surface.vertices(point).numpy()
        terms = self.matched(vertices)
        energy = sum(t.energy for t in terms) + self.priors.energy(point)
        return Evaluation(point, torch.tensor([energy], dtype=torch.float64), terms, vertices)

    def matched(self, vertices: Float[np.ndarray, 'V 3']) -> tuple[Matched, ...]:
        """Find closest points of a posed surface, all terms."""
        terms = []
        if self.weights.template > 0 and self.samples.weight.any():
            terms.append(self.to_scan(vertices))
        if self.weights.scan > 0 and len(self.index):
            terms.append(self.from_scan(vertices))
        if self.places is not None:
            terms.append(self._to_places(vertices, self.places))
        return tuple(terms)

    def step(
        self, at: Evaluation, damping: Float[Tensor, ' B'], n_together: int | None = None
    ) -> RegistrationStep:
        """Solve the damped equations."""
        slopes = self.surface.slopes(at.point)
        size = self.surface.n_unknowns
        free = self.free
        hessian, gradient = np.zeros((size, size)), np.zeros(size)
        for term in at.terms:
            used = term.weight > 0
            if not used.any():
                continue
            rows = slopes.at(term.rows[np.nonzero(used)[0]])
            root = np.sqrt(term.weight[used])
            normal = term.normal[used]
            # W = n n' + along (1 - n n'), as its root on three rows.
            share = np.sqrt(term.along)
            across = np.einsum('nc,ncp->np', normal, rows)
            mixed = share * rows + (1 - share) * normal[:, :, None] * across[:, None]
            off = term.difference[used]
            off = share * off + (1 - share) * normal * (normal * off).sum(1, keepdims=True)
            table = (root[:, None, None] * mixed).reshape(-1, size)
            hessian += table.T @ table
            gradient += table.T @ (root[:, None] * off).reshape(-1)
        prior_hessian, prior_gradient = self.priors.equations(at.point)
        hessian, gradient = (hessian + prior_hessian)[free][:, free], (gradient + prior_gradient)[free]
        diagonal = hessian.diagonal().copy()
        damped = hessian + float(damping[0]) * np.diag(diagonal + 1e-9 * diagonal.max())
        solution = -np.linalg.solve(damped, gradient)
        predicted = -2 * gradient @ solution - solution @ hessian @ solution
        step = np.zeros(size)
        step[free] = solution
        # Whole turns in one step are out of the linear range.
        turns = self.surface.slices['turns']
        step[turns] = step[turns].clip(-0.7, 0.7)
        return RegistrationStep(torch.from_numpy(step), torch.tensor([predicted], dtype=torch.float64))

    def moved(self, at: Evaluation, step: RegistrationStep) -> SurfaceState:
        """Return the state after a step."""
        return self.surface.moved(at.point, step.step)

    def take(self, index: Tensor) -> 'RegistrationProblem':
        """Return this problem; it has one row."""
        return self

    def total(self, values: Tensor) -> Tensor:
        """Sum."""
        return values.sum()

    def to_scan(self, vertices: np.ndarray) -> Matched:
        """Match the body's points with the scan's surface."""
        s = self.samples
        points = torch.from_numpy(s.rows @ vertices).unsqueeze(0)
        corners = vertices[self.surface.faces[s.faces]]
        normal = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        observed = torch.from_numpy(s.weight > 0).unsqueeze(0)
        result = closest_on_surface(
            points, observed, torch.as_tensor(self.scan.vertices).unsqueeze(0), self.scan.around, 4,
            torch.from_numpy(normal).unsqueeze(0), self.weights.least_cosine,
        )  # fmt: skip
        index, shares = result.vertices[0].numpy(), result.shares[0].numpy()
        target = (shares[:, :, None] * self.scan.vertices[index]).sum(1)
        towards = _unit((shares[:, :, None] * self.scan.normals[index]).sum(1))
        # Seen from the body, whose curvature is no noise.
        difference = points[0].numpy() - target + (s.rows @ self._outside(vertices))[:, None] * normal
        return self._scored(
            s.rows, difference, towards, self.weights.template * s.weight, result.matched[0].numpy()
        )

    def from_scan(self, vertices: np.ndarray) -> Matched:
        """Match the scan's points with the body's surface."""
        points = self.scan.vertices[self.index]
        observed = torch.from_numpy(self.index_weight > 0).unsqueeze(0)
        result = closest_on_surface(
            torch.from_numpy(points).unsqueeze(0), observed, torch.from_numpy(vertices).unsqueeze(0),
            self._around, 4, torch.from_numpy(self.scan.normals[self.index]).unsqueeze(0),
            self.weights.least_cosine,
        )  # fmt: skip
        index, shares = result.vertices[0].numpy(), result.shares[0].numpy()
        corners = vertices[index]
        normal = _unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        outside = (shares * self._outside(vertices)[index]).sum(1)
        difference = (shares[:, :, None] * corners).sum(1) - points + outside[:, None] * normal
        rows = point_rows(index, shares, len(vertices))
        return self._scored(
            rows, difference, normal, self.weights.scan * self.index_weight, result.matched[0].numpy()
        )

    def _outside(self, vertices: np.ndarray) -> Float[np.ndarray, ' V']:
        """Return how far outside of each vertex the scan's points are by their noise."""
        if not self.noise:
            return np.zeros(len(vertices))
        normals = vertex_normals(torch.from_numpy(vertices), torch.as_tensor(self.surface.faces)).numpy()
        bent = mean_curvature(vertices, self.surface.faces, normals)
        # Beyond its own noise no point is off on average: there the surface is finer than the noise.
        return (self.noise**2 * bent).clip(-self.noise, self.noise)

    def _scored(
        self,
        rows: csr_matrix,
        difference: np.ndarray,
        normal: np.ndarray,
        weight: np.ndarray,
        valid: np.ndarray,
    ) -> Matched:
        """Score differences by Geman and McClure's robust loss; a point without a match pays the most."""
        w = self.weights
        unit = (w.precision * w.sigma) ** -2
        across = (normal * difference).sum(1)
        squared = across**2 + w.along * (np.square(difference).sum(1) - across**2)
        limit = w.sigma**2
        share = limit / (limit + squared)
        paid = np.where(valid, squared * share, limit)
        energy = float((weight * unit * paid).sum())
        distance = np.where(valid, np.linalg.norm(difference, axis=1), np.inf)
        return Matched(rows, difference, normal, weight * unit * share**2 * valid, energy, distance, w.along)

    def _to_places(self, vertices: np.ndarray, places: PlaceTargets) -> Matched:
        difference = places.rows @ vertices - places.targets
        limit = (places.robust * places.sigma) ** 2
        squared = np.square(difference).sum(1)
        share = limit / (limit + squared)
        weight = places.sigma**-2
        energy = float((weight * squared * share).sum())
        normal = np.zeros_like(difference)
        return Matched(places.rows, difference, normal, weight * share**2, energy, np.sqrt(squared), 1.0)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
