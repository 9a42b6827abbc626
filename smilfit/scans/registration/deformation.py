"""Moves the vertices of the rest pose, as rigidly as can be, until the posed surface lies on the scan.

As-rigid-as-possible surfaces (Sorkine and Alexa 2007) in the rest pose: edges keep their lengths and turn with their
neighbours, so what is found is of the animal and not of its pose, and stays right when it is posed anew.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.sparse import block_array, coo_matrix, csr_matrix
from scipy.sparse.linalg import cg

from smilfit.rigs.triangles import Edges
from smilfit.scans.registration.surface_terms import Matched

# An edge counts as at least this share of the median one: slivers would hold all else.
SHORTEST_EDGE = 0.3
# Conjugate gradients begin at the last round's vertices; a round that ends early is gone on with in the next.
MOST_CG = 300


class RestDeformation:
    """The equations of the offsets of one body's rest vertices.

    Args:
        rest: vertices without offsets, model unit.
        strain: as in `DeformationStage`.
    """

    def __init__(self, rest: Float[np.ndarray, 'V 3'], faces: np.ndarray, strain: float) -> None:
        self.rest = rest
        self.edges = Edges.of(faces).ends
        length = np.linalg.norm(rest[self.edges[:, 0]] - rest[self.edges[:, 1]], axis=1)
        length = length.clip(SHORTEST_EDGE * np.median(length))
        self.weight = (strain * length) ** -2
        a, b = self.edges.T
        n = len(rest)
        both = np.concatenate([self.weight, self.weight])
        off = coo_matrix((both, (np.r_[a, b], np.r_[b, a])), (n, n)).tocsr()
        self.laplacian = csr_matrix((np.asarray(off.sum(1)).ravel(), (range(n), range(n)))) - off

    def turns(self, vertices: Float[np.ndarray, 'V 3']) -> Float[np.ndarray, 'V 3 3']:
        """Find how the surface around every vertex has turned."""
        a, b = self.edges.T
        before, after = self.rest[a] - self.rest[b], vertices[a] - vertices[b]
        outer = self.weight[:, None, None] * after[:, :, None] * before[:, None, :]
        cross = np.zeros((len(self.rest), 3, 3))
        np.add.at(cross, a, outer)
        np.add.at(cross, b, outer)
        u, _, vt = np.linalg.svd(cross)
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        return u @ vt

    def pull(self, turns: Float[np.ndarray, 'V 3 3']) -> Float[np.ndarray, 'V 3']:
        """Return the right side of the stiff equations."""
        a, b = self.edges.T
        mean = 0.5 * (turns[a] + turns[b])
        edge = self.weight[:, None] * np.einsum('eij,ej->ei', mean, self.rest[a] - self.rest[b])
        out = np.zeros_like(self.rest)
        np.add.at(out, a, edge)
        np.add.at(out, b, -edge)
        return out

    def solve(
        self,
        linear: Float[np.ndarray, 'V 3 3'],
        shift: Float[np.ndarray, 'V 3'],
        vertices: Float[np.ndarray, 'V 3'],
        terms: tuple[Matched, ...],
    ) -> Float[np.ndarray, 'V 3']:
        """Return rest vertices that balance distances and stiffness, closest points held.

        Args:
            linear: of every vertex, from rest to the world.
            terms: distances and what they are weighed by; targets are `rows @ posed - difference`.
        """
        n = len(self.rest)
        posed = (linear @ vertices[:, :, None])[..., 0] + shift
        turns = self.turns(vertices)
        hessian = block_array([[self.laplacian if r == c else None for c in range(3)] for r in range(3)])
        right = self.pull(turns).T.reshape(-1)
        pose = [[csr_matrix((linear[:, r, c], (range(n), range(n)))) for c in range(3)] for r in range(3)]
        for term in terms:
            used = np.nonzero(term.weight > 0)[0]
            if not len(used):
                continue
            rows, normal, weight = term.rows[used], term.normal[used], term.weight[used]
            target = rows @ posed - term.difference[used] - rows @ shift
            share = np.sqrt(term.along)
            # Three rows a point: W^(1/2) of W = n n' + along (1 - n n').
            root = np.sqrt(weight)[:, None, None] * (
                share * np.eye(3) + (1 - share) * normal[:, :, None] * normal[:, None, :]
            )
            moves = [[rows @ pose[r][c] for c in range(3)] for r in range(3)]
            table = block_array(
                [
                    [sum(moves[r][c].multiply(root[:, k, r : r + 1]) for r in range(3)) for c in range(3)]
                    for k in range(3)
                ]
            ).tocsr()
            wanted = np.einsum('nkr,nr->kn', root, target).reshape(-1)
            hessian = hessian + table.T @ table
            right = right + table.T @ wanted
        hessian = csr_matrix(hessian)
        diagonal = hessian.diagonal()
        # What neither stiffness nor a point holds stays where it is.
        hessian = hessian + csr_matrix((1e-9 * diagonal.max() * np.ones(3 * n), (range(3 * n), range(3 * n))))
        right = right + 1e-9 * diagonal.max() * vertices.T.reshape(-1)
        scale = csr_matrix((1 / diagonal.clip(1e-9 * diagonal.max()), (range(3 * n), range(3 * n))))
        result, _ = cg(hessian, right, vertices.T.reshape(-1), rtol=1e-6, maxiter=MOST_CG, M=scale)
        return result.reshape(3, n).T


def deform(
    deformation: RestDeformation,
    vertices: Float[np.ndarray, 'V 3'],
    linear: Float[np.ndarray, 'V 3 3'],
    shift: Float[np.ndarray, 'V 3'],
    match: Callable[[Float[np.ndarray, 'V 3']], tuple[Matched, ...]],
    n_iter: int,
    least_move: float,
) -> tuple[Float[np.ndarray, 'V 3'], int, bool]:
    """Match and solve until vertices stay where they are.

    Args:
        linear: of every vertex, from rest to the world.
        match: finds closest points of posed vertices.
        least_move: root mean square of the movement of a round that ends it, world unit.

    Returns:
        Rest vertices, how many rounds, and whether they came to rest.
    """
    for k in range(n_iter):
        posed = (linear @ vertices[:, :, None])[..., 0] + shift
        following = deformation.solve(linear, shift, vertices, match(posed))
        moved = (linear @ (following - vertices)[:, :, None])[..., 0]
        vertices = following
        if float(np.sqrt(np.square(moved).sum(1).mean())) < least_move:
            return vertices, k + 1, True
    return vertices, n_iter, False
