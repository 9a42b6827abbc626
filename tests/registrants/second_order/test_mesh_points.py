"""The fast equations of whole meshes against the readable Jacobian."""

import pytest
import torch
from torch import Tensor

from smilfit.body_models import SMIL, BodyModelData
from smilfit.registrants.second_order.equations import MeshJacobian, add_mesh
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.quadratic_models import PointModel
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from tests.animals import random_params, small_animal, static_animal

EXTRAS = ('log_scale', 'betas', 'log_joint_scales', 'joint_offsets')


def posed(
    data: BodyModelData, free: list[int], transl: bool = True, **kwargs: float
) -> tuple[Kinematics, VariableLayout]:
    body = SMIL(data, **kwargs).double()
    fitted = dict.fromkeys(EXTRAS, False)
    point = VariableState.from_params(random_params(data, 2), fitted)
    return Kinematics.of(body, point), VariableLayout.of(body, free, transl, fitted, point)


def twin(kin: Kinematics, layout: VariableLayout) -> Tensor:
    return kin.jacobian(point_set(kin.body, None), layout)


@pytest.mark.parametrize('free', [[0, 1, 2, 3, 4, 5], [0], [2, 4]])
@pytest.mark.parametrize('directions', [0.0, 1.0])
def test_rows_are_the_readable_jacobian(free: list[int], directions: float) -> None:
    kin, layout = posed(small_animal(), free, scale_directions=directions, offset_directions=directions)
    fast = MeshJacobian(kin, layout)
    for frame, expected in enumerate(twin(kin, layout)):
        rows = fast.rows(frame, slice(3, 20))
        torch.testing.assert_close(rows.permute(2, 1, 0), expected[3:20], rtol=1e-10, atol=1e-12)


def test_a_static_skeleton_has_the_same_rows() -> None:
    kin, layout = posed(static_animal(), [0, 1, 3], transl=False)
    rows = MeshJacobian(kin, layout).rows(1, slice(None))
    torch.testing.assert_close(rows.permute(2, 1, 0), twin(kin, layout)[1], rtol=1e-10, atol=1e-12)


def test_equations_are_the_sums_over_vertices_that_count() -> None:
    kin, layout = posed(small_animal(), [0, 1, 2, 3, 4, 5])
    draw = torch.Generator().manual_seed(0)
    jacobian = twin(kin, layout)
    root = torch.randn(*jacobian.shape[:2], 3, 3, generator=draw, dtype=torch.float64)
    gradient = torch.randn(*jacobian.shape[:3], generator=draw, dtype=torch.float64)
    # The second frame's vertices count in part, and some along one axis alone.
    root[1, ::3], gradient[1, ::3], root[1, 1, :, 1:] = 0, 0, 0
    hessian = root @ root.mT
    term = PointModel(None, gradient, hessian)
    count = jacobian.shape[-1]
    matrix, vector = jacobian.new_zeros(2, count, count), jacobian.new_zeros(2, count)
    add_mesh(kin, layout, term, matrix, vector)
    expected = torch.einsum('bnai,bnac,bncj->bij', jacobian, hessian, jacobian)
    torch.testing.assert_close(matrix, expected, rtol=1e-10, atol=1e-9)
    torch.testing.assert_close(
        vector, torch.einsum('bnai,bna->bi', jacobian, gradient), rtol=1e-10, atol=1e-9
    )
