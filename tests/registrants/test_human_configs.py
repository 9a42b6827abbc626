"""The shipped configs of people reach exact keypoints within 1 mm and stay sane with noise and outliers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from benchmarks.fitting.human_model import human_data
from smilfit.body_models import SMIL, SMPL, SMPLX, load_convention
from smilfit.handlers import Keypoint3dMSEInput
from smilfit.registry import build_registrant
from smilfit.structures import BodyParams
from tests.body_models.human_files import smpl_arrays, smplx_arrays, smplx_parents

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'fit'
B = 4


def fitter(name: str, body: SMIL, **changes: object):
    return build_registrant(
        {**Config.fromfile(CONFIGS / f'{name}.py').to_dict(), 'body_model': body, **changes}
    )


def truth_of(body: SMIL, angle: float = 0.3) -> BodyParams:
    draw = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    params = body.zero_params(B)
    return params.replace(
        global_orient=normal(B, 3),
        body_pose=params.body_pose + angle * normal(*params.body_pose.shape),
        betas=normal(1, body.n_betas).expand(B, -1).clone(),
        transl=normal(B, 3),
    )


def errors_mm(body: SMIL, params: BodyParams, truth: BodyParams) -> torch.Tensor:
    with torch.no_grad():
        return 1000 * (body(params).joints - body(truth).joints).norm(dim=-1).mean(1)


@pytest.fixture(scope='module')
def human() -> SMIL:
    return SMIL(human_data(1500))


@pytest.fixture(scope='module')
def human_x(tmp_path_factory: pytest.TempPathFactory) -> SMPLX:
    """A person's bones with hands on them, in SMPL-X's file, on few vertices."""
    path = tmp_path_factory.mktemp('smplx') / 'SMPLX_NEUTRAL.npz'
    parents, rng = smplx_parents(), np.random.default_rng(0)
    body = human_data(1500)
    places = np.zeros((len(parents), 3))
    places[:22] = body.joints[:22]
    for joint in range(22, len(parents)):
        step = (0.03, 0.0, 0.01 * rng.normal()) if joint >= 25 else (0.03 * rng.normal(), 0.08, 0.05)
        places[joint] = places[parents[joint]] + np.array(step) + 0.01 * rng.normal(size=3)
    each = 12
    vertices = np.repeat(places, each, 0) + 0.01 * rng.normal(size=(each * len(places), 3))
    weights = np.repeat(np.eye(len(places)), each, 0)
    stretch = 0.012 * rng.normal(size=(20, 3, 3))
    file = smplx_arrays() | {
        'v_template': vertices,
        'weights': weights,
        'J_regressor': weights.T / each,
        'f': np.arange(len(vertices)).reshape(-1, 3),
        'shapedirs': np.einsum('sij,vj->vis', stretch, vertices),
        'posedirs': 0.001 * rng.normal(size=(len(vertices), 3, 9 * (len(places) - 1))),
    }
    file['lmk_faces_idx'] = rng.integers(0, len(file['f']), 51)
    np.savez(path, **{k: v for k, v in file.items() if v.dtype != object and not k.startswith('dynamic')})
    return SMPLX(path, num_betas=10, num_expression_coeffs=10, use_pca=False)


@pytest.mark.parametrize(('name', 'kind'), [('smplify', 'human'), ('smplifyx', 'human_x')])
def test_exact_joints_are_met_within_a_millimetre(
    name: str, kind: str, request: pytest.FixtureRequest
) -> None:
    body = request.getfixturevalue(kind)
    truth = truth_of(body)
    with torch.no_grad():
        xyz = body(truth).joints
    result = fitter(name, body)([Keypoint3dMSEInput(xyz, body.joint_names)])
    assert errors_mm(body, result.params, truth).max() < 1
    assert bool(result.converged.all())
    noisy = xyz + 0.01 * torch.randn(xyz.shape, generator=torch.Generator().manual_seed(1))
    # One joint in twenty is nowhere near.
    wrong = torch.rand(xyz.shape[:2], generator=torch.Generator().manual_seed(2)) < 0.05
    noisy[wrong] += 1.0
    result = fitter(name, body)([Keypoint3dMSEInput(noisy, body.joint_names)])
    # The joints themselves are 16 mm off on average.
    assert errors_mm(body, result.params, truth).mean() < 20
    assert result.params.betas.abs().max() < 4
    assert result.params.body_pose.norm(dim=-1).max() < 2.5


def test_keypoints_of_coco_are_met_too(tmp_path: Path) -> None:
    """Of 17 points 15 are the model's: the annotator's hips are others and take no part."""
    made = human_data(6890)
    file = smpl_arrays() | {
        'v_template': made.v_template,
        'weights': made.weights.to_dense(),
        'J_regressor': made.joint_regressor.to_dense(),
        'f': made.faces,
        'shapedirs': made.shapedirs,
        'posedirs': np.zeros((6890, 3, 207)),
    }
    np.savez(tmp_path / 'SMPL_NEUTRAL.npz', **{k: v for k, v in file.items() if not isinstance(v, str)})
    body = SMPL(tmp_path)
    truth = truth_of(body, angle=0.15)
    names = load_convention('coco').names
    known = [i for i, n in enumerate(names) if n in body.keypoint_names]
    seen = torch.full((B, 17, 3), torch.nan)
    with torch.no_grad():
        seen[:, known] = body(truth, [names[i] for i in known]).keypoints
    result = fitter('smplify', body)([Keypoint3dMSEInput(seen, 'coco')])
    with torch.no_grad():
        matches = body(result.params, [names[i] for i in known]).keypoints
    assert 1000 * (matches - seen[:, known]).norm(dim=-1).mean() < 1
