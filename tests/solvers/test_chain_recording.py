"""A launch made once: the same answers as a launch a call, wherever it starts, and what the state looks like."""

from dataclasses import replace

import pytest
import torch

from smilfit.geometry.projection import project_points
from smilfit.solvers import ChainRecording, solve_chains
from tests.solvers import chain_twin as twin
from tests.solvers.chain_problems import normal, seen2d, skinned, truth_of


def seen_problem(n=1):
    """A skinned tree of known shape, seen by three lenses."""
    base = replace(skinned(n), fit_scale=False, fit_coefficients=torch.zeros(2, dtype=torch.bool))
    return seen2d(base, truth_of(base), 3, noise_px=2.0, lens=True)


def test_it_fits_as_a_launch_a_call_does_frame_after_frame():
    problem = seen_problem()
    frames = [replace(problem, xy=problem.xy + 9 * normal(*problem.xy.shape, seed=i)) for i in range(4)]
    recording = ChainRecording(problem)
    fit = recording.fit(n_iter=30, graduation=(2.0,))
    state = problem.start
    for frame in frames:
        recording.problem.xy.copy_(frame.xy)
        result = solve_chains(replace(frame, start=state), n_iter=30, graduation=(2.0,))
        fit()
        for name in ('rotations', 'transl', 'coefficients', 'log_scale'):
            assert torch.equal(getattr(result, name), getattr(recording.state, name)), name
        assert torch.equal(result.energy, recording.energy)
        assert bool(result.converged) == bool(recording.converged)
        assert int(result.iterations) == int(recording.iterations) > 1
        state = replace(state, rotations=result.rotations, transl=result.transl)


def test_fits_of_one_recording_share_its_state():
    recording = ChainRecording(seen_problem())
    root = torch.zeros(recording.problem.n_joints, dtype=torch.bool)
    root[0] = True
    place, pose = recording.fit(n_iter=5, free_joints=root), recording.fit(n_iter=5)
    before = recording.state.rotations.clone()
    place()
    still = recording.state.rotations
    assert torch.equal(still[:, 1:], before[:, 1:])
    assert not torch.equal(still[:, 0], before[:, 0])
    energy = float(recording.energy)
    pose()
    assert float(recording.energy) < energy


def test_the_view_is_that_of_the_readable_twin():
    problem = seen_problem()
    turned = torch.stack([twin.rotation(0.3 * normal(3, seed=i)) for i in range(problem.n_joints)])[None]
    problem = replace(problem, start=replace(problem.start, rotations=turned, transl=normal(1, 3, seed=40)))
    recording = ChainRecording(problem)
    recording.measure()
    points = twin.points(problem, problem.start)
    assert torch.allclose(recording.view.joints, twin.joints(problem, problem.start)[0], atol=1e-12)
    assert torch.allclose(recording.view.points, points[0], atol=1e-12)
    pixels, _, _ = project_points(
        points, problem.camera_K, problem.camera_R, problem.camera_t, problem.camera_dist
    )
    assert torch.allclose(recording.view.pixels, pixels[0], atol=1e-9)
    again = torch.stack([twin.rotation(v) for v in recording.view.turns])
    assert torch.allclose(again, turned[0], atol=1e-12)


def test_several_frames_are_refused():
    with pytest.raises(ValueError, match='of one frame'):
        ChainRecording(seen_problem(2))
    with pytest.raises(ValueError, match='ftol must not be negative'):
        ChainRecording(seen_problem()).fit(ftol=-1.0)
