"""The start of fits to meshes of the body's own topology."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import Keypoint3dMSEHandler, MeshInput, MeshVertexHandler
from smilfit.registrants import RigidInitializer, SMPLify, Stage, VertexInitializer
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import BodyParams
from smilfit.synthetic import make_quadruped


@pytest.fixture(scope='module')
def body() -> SMIL:
    return SMIL(make_quadruped()).double()


def truth_of(body: SMIL, batch: int = 3, scale: float = 1.0) -> BodyParams:
    draw = torch.Generator().manual_seed(0)
    params = body.zero_params(batch)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw).double()

    return params.replace(
        global_orient=2 * normal(batch, 3),
        body_pose=0.4 * normal(*params.body_pose.shape),
        betas=params.betas + 0.5 * normal(1, params.betas.shape[1]),
        transl=normal(batch, 3),
        scale=scale * params.scale,
    )


def vertices_of(body: SMIL, params: BodyParams) -> torch.Tensor:
    with torch.no_grad():
        return body(params, need=('vertices',)).vertices


def miss(body: SMIL, params: BodyParams, target: torch.Tensor) -> float:
    """Return the mean distance as a share of the body's length."""
    away = (vertices_of(body, params) - target).norm(dim=-1).mean() / body.rest_size
    return float(away / params.scale.mean())


@pytest.mark.parametrize(('scale', 'shared'), [(1.0, False), (40.0, True)])
def test_pose_shape_and_size_are_nearly_found_in_closed_form(body: SMIL, scale: float, shared: bool) -> None:
    truth = truth_of(body, scale=scale)
    target = vertices_of(body, truth)
    mesh = MeshInput(target, body.faces)
    result, notes = VertexInitializer()(body, [mesh], body.zero_params(3), shared, scale != 1)
    assert notes == {'frames_without_alignment': 0}
    assert miss(body, result, target) < 1e-3
    assert bool((result.betas[0] == result.betas[1]).all()) == shared
    rounds = [
        VertexInitializer(rounds=n)(body, [mesh], body.zero_params(3), shared, scale != 1)[0] for n in (1, 8)
    ]
    assert miss(body, rounds[1], target) < 0.1 * miss(body, rounds[0], target)


def test_only_what_a_stage_fits_moves(body: SMIL) -> None:
    truth = truth_of(body)
    names = body.joint_names
    group = next(iter(body.data.joint_groups))
    members = [names.index(n) for n in body.data.joint_groups[group]]
    stages = [Stage(fit=('global_orient', 'transl', 'body_pose'), fit_joint_groups=(group,))]
    init = VertexInitializer.of_stages(stages, body)
    start = body.zero_params(3)
    result, _ = init(body, [MeshInput(vertices_of(body, truth), body.faces)], start, False, False)
    held = [j - 1 for j in range(1, len(names)) if j not in members]
    torch.testing.assert_close(result.body_pose[:, held], start.body_pose[:, held], rtol=0, atol=1e-6)
    assert bool((result.betas == start.betas).all())
    assert bool((result.scale == start.scale).all())
    assert bool((result.body_pose != start.body_pose).any())


def test_a_fit_needs_few_steps_from_there_and_unseen_parts_follow(body: SMIL) -> None:
    truth = truth_of(body)
    target = vertices_of(body, truth)
    confidence = torch.ones_like(target[..., 0])
    far = vertices_of(body, body.zero_params(1))[0, :, 0] > 0.2
    confidence[0, far] = 0
    stage = Stage(n_iter=10, weights={'mesh': 1.0})
    fitter = SMPLify(body, [stage], [MeshVertexHandler()], optimizer=LevenbergMarquardt(damping=1e-6))
    assert isinstance(fitter.initializer, VertexInitializer)
    seen = MeshInput(target + 2e-3 * torch.randn_like(target), body.faces, confidence)
    result = fitter([seen])
    assert result.history[0]['steps'] <= 5
    assert bool(result.converged.all())
    assert miss(body, result.params[1:], target[1:]) < 1e-3


def test_other_inputs_are_placed_rigidly(body: SMIL) -> None:
    target = vertices_of(body, truth_of(body))
    other = MeshInput(target, body.faces.flip(1))
    start = body.zero_params(3)
    assert VertexInitializer()(body, [other], start, False)[0] is start
    fitter = SMPLify(body, [Stage(weights={'k': 1.0})], [Keypoint3dMSEHandler(handler_key='k')])
    assert isinstance(fitter.initializer.otherwise, RigidInitializer)


def test_sizes_that_no_stage_fits_are_noted_and_unseen_frames_follow(body: SMIL) -> None:
    truth = truth_of(body, scale=1000.0)
    target = vertices_of(body, truth)
    confidence = torch.ones_like(target[..., 0])
    confidence[1] = 0
    result, notes = VertexInitializer()(
        body, [MeshInput(target, body.faces, confidence)], body.zero_params(3), False, False
    )
    assert notes['frames_without_alignment'] == 1
    assert 500 < notes['unfitted_scale'] < 2000
    assert bool((result.body_pose[1] == result.body_pose[0]).all())
    unseen = MeshInput(target, body.faces, torch.zeros_like(confidence))
    assert VertexInitializer()(body, [unseen], body.zero_params(3), False)[1] == {
        'frames_without_alignment': 3
    }


def test_rounds_are_checked() -> None:
    with pytest.raises(ValueError, match='rounds must be 1 or more; got 0'):
        VertexInitializer(rounds=0)
