"""A body as it is registered: its surface at rest, its limbs and what is known of specimens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from smilfit.body_models import SMIL, BodyModelData, SparseMatrix
from smilfit.geometry.surface_graph import surface_graph
from smilfit.geometry.welding import first_of_place
from smilfit.registrants.registration.limb_curves import LimbCurves, limb_curves
from smilfit.registrants.registration.limb_presence import LimbJoints
from smilfit.registrants.registration.posed_surface import UNKNOWNS, PosedSurface
from smilfit.registrants.registration.priors import PriorSizes, RegistrationPriors


@dataclass(frozen=True)
class Template:
    """A body as it is registered.

    Attributes:
        surface: of the body.
        priors: of its unknowns.
        rest: vertices of the mean animal at rest, model unit.
        graph: of distances along that surface.
        curves: its limbs.
        limb_joints: the joints of each limb.
        n_at_seams: vertices that lie on the place of another one.
    """

    surface: PosedSurface
    priors: RegistrationPriors
    rest: Float[np.ndarray, 'V 3']
    graph: csr_matrix
    curves: LimbCurves
    limb_joints: LimbJoints
    n_at_seams: int = 0

    @classmethod
    def of(cls, body: SMIL, sizes: PriorSizes) -> 'Template':
        """Look at a body model; joint offsets are unknown where they have a prior."""
        unknowns = (*UNKNOWNS, 'joint_offsets') if sizes.joint_offset_sd is not None else UNKNOWNS
        surface = PosedSurface(body, unknowns)
        rest = surface.rest_vertices(surface.rest()).numpy()
        graph = surface_graph(rest, surface.faces)
        curves = limb_curves(rest, graph)
        joints = LimbJoints.of(surface.data, surface.part, curves)
        at_seams = int((first_of_place(rest) != np.arange(len(rest))).sum())
        return cls(surface, RegistrationPriors(surface, sizes), rest, graph, curves, joints, at_seams)

    @property
    def rigged(self) -> bool:
        """Whether it has joints that move; a template mesh has none."""
        return self.surface.data.n_joints > 1


def template_body(
    name: str, vertices: Float[np.ndarray, 'V 3'], faces: Int[np.ndarray, 'F 3'], unit: str | None = None
) -> SMIL:
    """Make a body of a mesh; its one joint is the mesh's middle."""
    middle = vertices.mean(0, keepdims=True)
    n = len(vertices)
    weights = SparseMatrix(np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n), (n, 1))
    return SMIL(
        BodyModelData(
            name=name, v_template=vertices, faces=faces, joint_names=('body',), parents=np.array([-1]),
            weights=weights, joints=middle, unit=unit,
        )
    )  # fmt: skip
