"""A closed worm: a bent tube of four joints with a proper surface, and truths of its poses."""

import math
from dataclasses import replace

import numpy as np
import torch

from smilfit.body_models import SMIL, BodyModelData, SparseMatrix
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.registrants.second_order.automatic import value_slopes
from smilfit.registrants.second_order.banded import MotionModel
from smilfit.registrants.second_order.equations import FrameEquations, unknown_rows
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.quadratic_models import PointModel, ViewModel, models_of
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.structures import BodyParams

N_SIDES, N_RINGS = 12, 25


def worm_data(n_joints: int = 4) -> BodyModelData:
    """A tube along x with joints one unit apart; its section is an egg, so that every turn shows."""
    x = np.linspace(-0.5, n_joints - 0.5, N_RINGS)
    phi = 2 * math.pi * np.arange(N_SIDES) / N_SIDES
    radius = 0.3 * np.sqrt(np.clip(1 - ((x - x.mean()) / (0.52 * (x[-1] - x[0]))) ** 4, 0.05, None))
    y = radius[:, None] * (1.0 + 0.25 * np.cos(phi)) * np.cos(phi)
    z = radius[:, None] * 0.6 * np.sin(phi)
    rings = np.stack([np.repeat(x[:, None], N_SIDES, 1), y, z], -1).reshape(-1, 3)
    vertices = np.concatenate([rings, [[x[0] - 0.05, 0, 0], [x[-1] + 0.1, 0, 0]]])
    faces = []
    for s in range(N_SIDES):
        t = (s + 1) % N_SIDES
        for r in range(N_RINGS - 1):
            a, b = r * N_SIDES, (r + 1) * N_SIDES
            faces += [(a + s, b + s, a + t), (b + s, b + t, a + t)]
        last = (N_RINGS - 1) * N_SIDES
        faces += [(len(rings), s, t), (len(rings) + 1, last + t, last + s)]
    joints = np.stack([np.arange(n_joints), np.zeros(n_joints), np.zeros(n_joints)], -1).astype(float)
    # A vertex follows the joint behind it, blended half a unit around a joint.
    place = np.clip(vertices[:, 0] - np.arange(n_joints)[:, None] + 0.5, 0, 1).T
    weights = np.diff(np.concatenate([np.ones((len(vertices), 1)), place[:, 1:]], 1), append=0, axis=1) * -1
    names = tuple(f'joint_{j}' for j in range(n_joints))
    girth = vertices * [0, 0.2, 0.2]
    return BodyModelData(
        name='worm',
        v_template=vertices,
        faces=np.array(faces),
        joint_names=names,
        parents=np.arange(n_joints) - 1,
        weights=SparseMatrix.from_dense(weights),
        joints=joints,
        shapedirs=girth[..., None],
        joint_groups={'foot': (names[0], names[-1])},
        keypoint_sets={'clicks': {'nose': {len(rings) + 1: 1.0}, 'hip': names[0]}},
        unit='mm',
        up_axis='+z',
        forward_axis='+x',
    )


def worm() -> SMIL:
    return SMIL(worm_data()).double()


def worm_truth(batch: int = 2, angle: float = 0.25, seed: int = 3) -> BodyParams:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    return BodyParams(
        global_orient=0.3 * draw(batch, 3),
        body_pose=angle * draw(batch, 3, 3),
        betas=0.3 * draw(batch, 1),
        transl=0.3 * draw(batch, 3) - torch.tensor([1.5, 0, 0]),
        scale=torch.ones(batch, dtype=torch.float64),
    )


def near(truth: BodyParams, amount: float = 0.08, seed: int = 5) -> BodyParams:
    """A start a little off the truth, in every rotation and in place."""
    g = torch.Generator().manual_seed(seed)

    def off(x):
        return x + amount * torch.randn(x.shape, generator=g, dtype=x.dtype)

    return truth.replace(
        global_orient=off(truth.global_orient), body_pose=off(truth.body_pose), transl=off(truth.transl)
    )


def state_of(body: SMIL, params: BodyParams, need=('joints', 'vertices'), **kwargs) -> BodyState:
    return BodyState(body, params, body(params, need), **kwargs)


def active(handler, seen=None, weight=None, reduction=None) -> ActiveTerm:
    """A handler at work, with its loss's own weight unless another is given."""
    return ActiveTerm(handler, seen, handler.loss.loss_weight if weight is None else weight, reduction)


def point_model(term: ActiveTerm, state: BodyState, by_view: bool = False) -> PointModel:
    """The sum of a term's models, which are all of the same points."""
    models, coupled = models_of(term, state, 1.0, by_view)
    assert models
    assert not coupled
    assert all(isinstance(model, PointModel) and model.names == models[0].names for model in models)
    summed = (sum(getattr(m, name) for m in models) for name in ('gradient', 'hessian'))
    views = None
    if by_view:
        parts = [m.views for m in models]
        views = ViewModel(sum(p.gradient for p in parts), sum(p.hessian for p in parts), parts[0].cameras)
    return PointModel(models[0].names, *summed, views)


def with_points(state: BodyState, names, points) -> BodyState:
    """A state with other points in the place of its own."""
    if names is None:
        return replace(state, output=replace(state.output, vertices=points))
    output = replace(state.output, joints=None, joint_names=(), keypoints=points, keypoint_names=names)
    return replace(state, output=output)


def check_point_term(handler, state, seen=None, weight=None, reduction=None) -> None:
    """A term of points has autograd's gradient, and a hessian without negative directions."""
    term = active(handler, seen, weight, reduction)
    model = point_model(term, state)
    points = state.output.vertices if model.names is None else state.output.select(model.names)
    points = points.detach().requires_grad_()
    value = handler(with_points(state, model.names, points), seen, weight, reduction)
    (gradient,) = torch.autograd.grad(value, points)
    torch.testing.assert_close(model.gradient, gradient, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(model.hessian, model.hessian.transpose(-1, -2))
    assert torch.linalg.eigvalsh(model.hessian).min() > -1e-9
    torch.testing.assert_close(term.per_frame(state).sum(), value.detach())
    torch.testing.assert_close(term.value(state), value.detach())


def check_by_unknowns(handler, state, seen=None, weight=None, reduction=None) -> None:
    """A term's equations have the gradient that autograd finds through the body, whatever its models are made of."""
    body, params = state.body, state.params
    fitted = {'betas': False, 'log_scale': False}
    point = VariableState.from_params(params, fitted)
    layout = VariableLayout.of(body, list(range(body.n_joints)), True, fitted, point)
    term = active(handler, seen, weight, reduction)
    models, coupled = models_of(term, state, 1.0, False)
    kin = Kinematics.of(body, point)
    equations = FrameEquations(kin, layout).add(models, state, 1.0)
    vector = equations.vector
    for index in coupled:
        motion = MotionModel.of(term, index, state, kin, layout, 1.0)
        vector = vector + (motion.jacobian.mT @ motion.product(motion.value.unsqueeze(-1))).squeeze(-1)
    exact = unknown_rows(value_slopes(term, state), state.output, kin, layout)[:, 0]
    torch.testing.assert_close(vector, exact, rtol=1e-6, atol=1e-9)
    assert torch.linalg.eigvalsh(equations.matrix).min() > -1e-9
