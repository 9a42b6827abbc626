"""Stored priors, benchmark results and truths that are damaged name their file."""

import numpy as np
import pytest
import torch

from smilfit.evaluation.benchmark_result import BenchmarkResult
from smilfit.files import BadFileError
from smilfit.io.truth import read_true_params, write_truth
from smilfit.losses.max_mixture import PoseMixture, read_pose_mixture
from smilfit.losses.pose_prior import PoseGaussian, read_pose_gaussian
from smilfit.structures import BodyParams

N, C, K = 2, 1, 3


def make_benchmark(path):
    rng = np.random.default_rng(0)
    return BenchmarkResult(
        keypoint_names=('a', 'b', 'c'),
        camera_names=('left',),
        unit='mm',
        predicted2d=rng.normal(size=(N, C, K, 2)),
        truth2d=rng.normal(size=(N, C, K, 2)),
        seen2d=np.ones((N, C, K), bool),
        to_original=rng.normal(size=(N, C, 2, 3)),
        predicted3d=rng.normal(size=(N, K, 3)),
        truth3d=rng.normal(size=(N, K, 3)),
        seen3d=np.ones((N, K), bool),
        session=np.zeros(N, np.int64),
        frame=np.arange(N),
    ).save(path)


def make_truth(path):
    joints = np.zeros((N, 2, 3))
    return write_truth(path, BodyParams.zeros(N, 2, 1), joints, joints, ('a', 'b'), ('a', 'b'), 'hash')


KINDS = {
    'gaussian': (lambda p: PoseGaussian(np.zeros(6), np.eye(6)).save(p), read_pose_gaussian, 'covariance'),
    'mixture': (
        lambda p: PoseMixture(np.zeros((2, 6)), np.stack([np.eye(6)] * 2), np.ones(2) / 2).save(p),
        read_pose_mixture,
        'covariances',
    ),
    'benchmark': (make_benchmark, BenchmarkResult.load, 'truth3d'),
    'truth': (make_truth, lambda p: read_true_params(p, N), 'betas'),
}


def changed(path, **arrays):
    with np.load(path) as file:
        result = {name: file[name] for name in file.files}
    np.savez(path, **{name: value for name, value in (result | arrays).items() if value is not None})


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_damaged_names_its_file(kind, tmp_path):
    make, read, key = KINDS[kind]
    path = make(tmp_path / f'{kind}.npz')
    read(path)
    whole = path.read_bytes()
    for data in (b'', b'PK', whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(data)
        with pytest.raises(BadFileError, match=rf'^{path}: .*(copy it again|make it anew)'):
            read(path)
    for value in (np.array([{}], dtype=object), np.full((4, 4, 4, 4, 4), 1.0), np.array(['a', 'b']), None):
        path.write_bytes(whole)
        changed(path, **{key: value})
        with pytest.raises(BadFileError, match=rf'^{path}: .*\.$'):
            read(path)
    path.write_bytes(whole)
    read(path)


def test_a_truth_that_is_not_finite_is_refused(tmp_path):
    path = make_truth(tmp_path / 'truth.npz')
    changed(path, transl=np.full((N, 3), np.nan, np.float32))
    with pytest.raises(BadFileError, match='transl must be finite'):
        read_true_params(path, N)
    with pytest.raises(BadFileError, match="as many as the videos' frames, 5"):
        read_true_params(make_truth(tmp_path / 'truth.npz'), 5)
    assert torch.equal(read_true_params(path, N).scale, torch.ones(N))
