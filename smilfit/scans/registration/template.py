"""A body as it is registered: its surface at rest, its limbs and what is known of specimens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from smilfit.body_models import SMIL, BodyModelData, SparseMatrix
from smilfit.geometry.surface_graph import first_of_place, surface_graph
from smilfit.scans.registration.limbs import LimbCurves, limb_curves
from smilfit.scans.registration.posed_surface import UNKNOWNS, PosedSurface
from smilfit.scans.registration.registration_priors import PriorSizes, RegistrationPriors
from smilfit.scans.registration.surface_terms import Matched, SurfaceSamples

# Of a joint's points: fewer near the scan, and it is not there.
ABSENT_BELOW = 0.25
# Of the joints of a limb that has no counterpart: fewer near the scan, and it is not there.
LYING = 0.8
# Of the scan that is nearest to a limb: less of it nearest to that limb in turn, and another lies there.
OWN_GROUND = 0.75
# A joint is of a limb if this share of its skin is.
OF_LIMB = 0.5


@dataclass(frozen=True)
class LimbJoints:
    """The joints of every limb of a body, and the tree they hang in."""

    of_limb: tuple[tuple[int, ...], ...]
    parents: tuple[int, ...]

    @classmethod
    def of(cls, data: BodyModelData, part: np.ndarray, curves: LimbCurves) -> 'LimbJoints':
        """Find them by whose skin lies in a limb, with all that hangs on them."""
        parents = tuple(int(p) for p in data.parents)
        total = np.bincount(part, minlength=data.n_joints)
        result = []
        for limb in curves.limbs.limbs:
            own = np.bincount(part[limb.vertices], minlength=data.n_joints)
            inside = {int(j) for j in np.nonzero(own > OF_LIMB * total.clip(1))[0] if j > 0}
            for j in range(1, data.n_joints):
                if parents[j] in inside:
                    inside.add(j)
            result.append(tuple(sorted(inside)))
        return cls(tuple(result), parents)

    def absent(
        self, samples: SurfaceSamples, term: Matched, near: float, unpaired: set[int], doubled: set[int]
    ) -> Bool[np.ndarray, ' J']:
        """Return which joints the scan does not show: those of limbs, with no scan near them or what hangs on them.

        Args:
            samples: of the body's surface.
            unpaired: limbs for which the scan has no counterpart.
            doubled: those of them that lie on another's.
        """
        n = len(self.parents)
        count = np.bincount(samples.part, minlength=n)
        close = np.bincount(samples.part, term.distance < near, minlength=n)
        shown = (close >= ABSENT_BELOW * count) & (count > 0)
        for j in reversed(range(1, n)):
            if shown[j]:
                shown[self.parents[j]] = True
        out = np.zeros(n, dtype=bool)
        for k, joints in enumerate(self.of_limb):
            own = np.array(joints, dtype=int)
            visible = shown[own] & (count[own] > 0)
            # A limb without counterpart that lies on something lies on something else, unless nearly all of it does
            # and no other limb lies there.
            most = LYING * max(1, (count[own] > 0).sum())
            if k in doubled or (k in unpaired and visible.sum() < most):
                visible = np.zeros_like(visible)
            gone = own[~visible]
            # Joints without skin go with what they hang on.
            out[gone[(count[gone] > 0) | out[np.array(self.parents)[gone]]]] = True
        for j in range(1, n):
            if out[self.parents[j]]:
                out[j] = True
        return out

    def doubled(
        self,
        limbs: set[int],
        part: Int[np.ndarray, ' V'],
        vertices: Float[np.ndarray, 'V 3'],
        scan: Float[np.ndarray, 'N 3'],
    ) -> set[int]:
        """Return which of some limbs lie where another does: the scan under them is as near to the other."""
        if not limbs:
            return set()
        scan_tree, body_tree = cKDTree(scan), cKDTree(vertices)
        result = set()
        for k in limbs:
            own = np.isin(part, self.of_limb[k])
            if own.any():
                under = scan_tree.query(vertices[own])[1]
                back = body_tree.query(scan[under])[1]
                if own[back].mean() < OWN_GROUND:
                    result.add(k)
        return result

    def offs(self, samples: SurfaceSamples, term: Matched) -> np.ndarray:
        """Return the upper quartile of each limb's distances from the scan."""
        out = []
        for joints in self.of_limb:
            own = np.isin(samples.part, joints)
            out.append(float(np.percentile(term.distance[own].clip(max=1e30), 75)) if own.any() else 0.0)
        return np.array(out)


@dataclass(frozen=True)
class Template:
    """A body as it is registered.

    Attributes:
        surface: of the body.
        priors: of its unknowns.
        rest: vertices of the mean animal at rest, model unit.
        curves: its limbs.
        limb_joints: the joints of each limb.
        n_at_seams: vertices that lie on the place of another one.
    """

    surface: PosedSurface
    priors: RegistrationPriors
    rest: Float[np.ndarray, 'V 3']
    curves: LimbCurves
    limb_joints: LimbJoints
    n_at_seams: int = 0

    @classmethod
    def of(cls, body: SMIL, sizes: PriorSizes) -> 'Template':
        """Look at a body model; joint offsets are unknown where they have a prior."""
        unknowns = (*UNKNOWNS, 'joint_offsets') if sizes.joint_offset_sd is not None else UNKNOWNS
        surface = PosedSurface(body, unknowns)
        rest = surface.rest_vertices(surface.rest()).numpy()
        curves = limb_curves(rest, surface_graph(rest, surface.faces))
        joints = LimbJoints.of(surface.data, surface.part, curves)
        at_seams = int((first_of_place(rest) != np.arange(len(rest))).sum())
        return cls(surface, RegistrationPriors(surface, sizes), rest, curves, joints, at_seams)

    @property
    def rigged(self) -> bool:
        """Whether it has joints that move; a template mesh has none."""
        return self.surface.data.n_joints > 1


def template_body(
    name: str, vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3'], unit: str | None = None
) -> SMIL:
    """Make a body of a mesh; its one joint is the mesh's middle."""
    centre = vertices.mean(0, keepdims=True)
    n = len(vertices)
    weights = SparseMatrix(np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n), (n, 1))
    return SMIL(
        BodyModelData(
            name=name, v_template=vertices, faces=faces, joint_names=('body',), parents=np.array([-1]),
            weights=weights, joints=centre, unit=unit,
        )
    )  # fmt: skip
