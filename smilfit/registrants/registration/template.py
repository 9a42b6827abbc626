"""A mesh without a skeleton as a body of one joint: it is placed and sized, and its skin deforms."""

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models import SMIL, BodyModelData, SparseMatrix


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
