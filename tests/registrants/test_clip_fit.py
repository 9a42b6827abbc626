"""A clip in windows: shape from frames all over it, then poses; as good as the whole, and no seam shows."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BodyPosePriorHandler, Keypoint3dMSEHandler, SmoothMotionHandler
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import PartFiles, SMPLify, Stage
from smilfit.registrants.second_order import run_stage as stage
from smilfit.registrants.second_order.uncertainty.covariance import fit_covariance
from smilfit.solvers import (
    CarriedPoints,
    ChainLoads,
    ChainMotion,
    DistributedProcesses,
    LevenbergMarquardt,
)
from smilfit.structures import Keypoints3d
from tests.animals import random_params, small_animal
from tests.ranks import on_two_ranks
from tests.registrants.clip import ALL, RIGID, error

N = 24
WEIGHTS = {'keypoints3d_mse': 1.0, 'body_pose_prior': 1e-2}
WINDOWS = {'window': 10, 'overlap': 4, 'shape_frames': 8}


def moving_clip(noise=0.0):
    """A body of one shape that moves steadily, and its joints and two points of its skin."""
    data = replace(small_animal(n_joints=8), posedirs=None)
    body = SMIL(data).double()
    ends = random_params(data, 2, angle=0.25)
    at = torch.linspace(0, 1, N).double()

    def between(value):
        t = at.reshape(-1, *[1] * (value.ndim - 1))
        return (1 - t) * value[:1] + t * value[1:]

    pose = {n: between(getattr(ends, n)) for n in ('global_orient', 'body_pose', 'transl')}
    one = {n: getattr(ends, n)[:1].expand(N, *getattr(ends, n).shape[1:]).clone() for n in ('betas', 'scale')}
    truth = body.zero_params(N).replace(**pose, **one)
    names = (*data.joint_names, 'nose', 'tail')
    points = body(truth, names).keypoints
    shaken = noise * torch.randn(points.shape, generator=torch.Generator().manual_seed(0)).double()
    # Fewer labels in the second half: means of single windows would weigh them otherwise.
    confidence = torch.ones(N, len(names)).double()
    confidence[N // 2 :, -2:] = 0
    return body, Keypoints3d(points, confidence, names), Keypoints3d(points + shaken, confidence, names)


def fitter(body, solver=None, motion=1.0, processes=None, **options):
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss()),
        BodyPosePriorHandler(PoseRegLoss()),
        SmoothMotionHandler(),
    ]
    weights = {**WEIGHTS, 'smooth_motion': motion}
    plan = [
        Stage(n_iter=15, fit=RIGID, weights={'keypoints3d_mse': 1.0}, name='place'),
        Stage(n_iter=40, ftol=1e-10, fit=ALL, weights=weights, name='all'),
    ]
    solver = solver or LevenbergMarquardt(gnc_schedule=())
    return SMPLify(body, plan, handlers, solver, use_one_betas_per_video=True, processes=processes, **options)


def test_windows_find_the_truth_and_share_one_shape():
    body, truth, seen = moving_clip()
    result = fitter(body, motion=0.0, **WINDOWS)([seen])
    assert error(body, result, truth)[seen.confidence > 0].max() < 0.02 * body.rest_size
    betas = result.params.betas
    torch.testing.assert_close(betas, betas[:1].expand_as(betas), rtol=0, atol=1e-12)
    assert result.report['windows'] == 4
    assert result.report['shape_frames'] == 8
    assert [(h.get('part'), h['stage'], h.get('windows')) for h in result.history] == [
        ('shape', 'place', None), ('shape', 'all', None), (None, 'place', 4), (None, 'all', 4),
    ]  # fmt: skip


def test_no_seam_shows():
    """Beside one window of all frames; windows that do not overlap are worse by far."""
    body, _, seen = moving_clip(noise=0.05)

    def points(**options):
        result = fitter(body, motion=0.01, shape_frames=8, **options)([seen])
        return body(result.params, seen.names).keypoints

    whole = points()
    noise = (whole - seen.xyz).norm(dim=-1)[seen.confidence > 0].median()
    overlapped, bare = (
        float(((points(window=10, overlap=n) - whole).norm(dim=-1) * seen.confidence).max()) for n in (4, 0)
    )
    assert overlapped < 0.05 * noise < 0.1 * noise < bare


def test_motion_of_skin_points_runs_round_the_kernel_as_by_dense_equations():
    body, _, seen = moving_clip(noise=0.05)
    fits = [
        fitter(body, LevenbergMarquardt(backend=backend, gnc_schedule=()), **{'shape_frames': 8})([seen])
        for backend in ('auto', 'torch')
    ]
    engines = [f.history[-1]['engine'] for f in fits]
    assert engines[0].startswith('kernel and torch')
    assert engines[1] == 'banded'
    a, b = (body(f.params, seen.names).keypoints for f in fits)
    assert ((a - b).norm(dim=-1) * seen.confidence).max() < 1e-4 * body.rest_size


def test_carried_points_agree_with_what_moves_them():
    """Power of forces on the points is that of what they do to the joints; the quadratic is that of a bone."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    b, j, n = 3, 4, 2
    carried = CarriedPoints(
        normal(b, n, 3),
        torch.tensor([0, 0, 1]),
        torch.tensor([1, 2, 3]),
        torch.tensor([0.3, 0.7, 1.0]).double(),
        normal(b, 3, 3),
    )
    motion = ChainMotion(normal(b, 3 * j + 1, 3), torch.zeros(b, 0).double())
    force = normal(b, n, 3)
    loads = ChainLoads(torch.zeros(b, 3 * j + 1, 3).double(), torch.zeros(b, 0).double())
    carried.add_loads(loads, force)
    expected = (force * carried.velocity(motion)).sum((1, 2))
    torch.testing.assert_close(loads.power(motion), expected)
    gradient, hessian = torch.zeros(b, j, 6).double(), torch.zeros(b, j, 6, 6).double()
    curvature = normal(b, n).abs()
    carried.add_quadratic(gradient, hessian, force, curvature)
    twist = torch.cat((motion.angular, motion.velocity), -1)
    torch.testing.assert_close((gradient * twist).sum((1, 2)), expected)
    own = (twist[:, 3] * (hessian[:, 3] @ twist[:, 3].unsqueeze(-1)).squeeze(-1)).sum(-1)
    torch.testing.assert_close(own, curvature[:, 1] * carried.velocity(motion)[:, 1].square().sum(-1))


def test_a_stopped_fit_goes_on_after_its_last_window(tmp_path):
    body, _, seen = moving_clip()
    parts = PartFiles(tmp_path / 'parts', 'one')
    solver = LevenbergMarquardt(gnc_schedule=(), covariance=True)
    first = fitter(body, solver, **WINDOWS)
    first.keep_parts(parts)
    whole = first([seen])
    names = sorted(path.name for path in parts.folder.iterdir())
    assert names == ['shape.npz', *(f'window_{i:05d}.npz' for i in range(4))]
    (parts.folder / names[-1]).unlink()
    steps = []
    again = fitter(
        body, solver, **WINDOWS, hooks=[lambda stage, step, loss: steps.append(stage.name) and False]
    )
    again.keep_parts(parts)
    resumed = again([seen])
    assert set(steps) == {'place', 'all'}
    assert steps.count('place') == 1
    for name, value in whole.params.as_dict().items():
        torch.testing.assert_close(resumed.params.as_dict()[name], value, rtol=0, atol=0)
    assert resumed.report == whole.report
    torch.testing.assert_close(resumed.covariance.keypoints, whole.covariance.keypoints, rtol=0, atol=0)
    torch.testing.assert_close(resumed.covariance.sd, whole.covariance.sd, rtol=0, atol=0)


def by_windows(folder):
    body, _, seen = moving_clip(noise=0.05)
    processes = DistributedProcesses()
    result = fitter(body, processes=processes, **WINDOWS)([seen])
    torch.save([result.params.body_pose, result.per_frame_loss], f'{folder}/{processes.rank}.pth')


def test_processes_take_windows(tmp_path):
    body, _, seen = moving_clip(noise=0.05)
    alone = fitter(body, **WINDOWS)([seen])
    on_two_ranks(by_windows, str(tmp_path))
    for rank in (0, 1):
        pose, loss = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        torch.testing.assert_close(pose, alone.params.body_pose)
        torch.testing.assert_close(loss, alone.per_frame_loss)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'window': 4, 'overlap': 4}, 'overlap must be less than window'),
        ({'shape_frames': 0}, 'shape_frames must be at least 1'),
    ],
)
def test_windows_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        fitter(moving_clip()[0], **options)


def test_one_shape_must_be_asked_for():
    with pytest.raises(ValueError, match='use_one_betas_per_video must'):
        SMPLify(moving_clip()[0], [], [], shape_frames=3)


def test_the_covariance_is_that_of_the_last_stage_of_each_window_alone(monkeypatch):
    """And of the frames that found the shape: nobody looks at those of the stages before."""
    body, _, seen = moving_clip(noise=0.05)
    matches = []

    def counted(problem, point, *given):
        matches.append((problem.frames.task.stage.name, point.batch_size))
        return fit_covariance(problem, point, *given)

    monkeypatch.setattr(stage, 'fit_covariance', counted)
    solver = LevenbergMarquardt(gnc_schedule=(), covariance=True)
    result = fitter(body, solver, motion=0.0, **WINDOWS)([seen])
    assert matches == [('all', 8), ('all', 10), ('all', 10), ('all', 10), ('all', 6)]
    assert result.covariance.keypoint_sd().shape[0] == N
    assert solver.covariance
    assert [entry['solver'] for entry in result.history] == ['LevenbergMarquardt'] * 4
