"""Frames on several threads: every bit is that of one thread, and what goes wrong in one of them is told."""

from threading import Barrier, get_ident

import pytest
import torch

from smilfit.solvers import solve_chains, solve_shared_chains
from smilfit.solvers.kernel.warp_launch import FRAMES_A_THREAD, FrameThreads, threads_for
from tests.solvers.chain_problems import seen2d, single, skinned, tree, truth_of

ANSWERS = (
    'rotations',
    'transl',
    'log_scale',
    'coefficients',
    'energy',
    'start_energy',
    'converged',
    'iterations',
)


def same_bits(one, other):
    return [name for name in ANSWERS if not torch.equal(getattr(one, name), getattr(other, name))]


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize('n_frames', [1, 7, 40])
def test_every_bit_is_that_of_one_thread(n_frames):
    base = tree(n_frames)
    problem = single(seen2d(base, truth_of(base), noise_px=2.0, lens=True))
    one = solve_chains(problem, n_iter=20, threads=1)
    for threads in (2, 3, 8):
        assert not same_bits(one, solve_chains(problem, n_iter=20, threads=threads))


def test_steps_of_a_shared_shape_take_torchs_threads(two_threads):
    base = skinned(2 * FRAMES_A_THREAD + 1)
    problem = seen2d(base, truth_of(base), noise_px=1.0)
    two = solve_shared_chains(problem, n_iter=3)
    torch.set_num_threads(1)
    assert not same_bits(solve_shared_chains(problem, n_iter=3), two)


def test_few_frames_have_one_thread(two_threads):
    assert [threads_for(n) for n in (0, 1, 2 * FRAMES_A_THREAD - 1, 2 * FRAMES_A_THREAD, 10**6)] == [
        1,
        1,
        1,
        2,
        2,
    ]
    assert [threads_for(n, 4) for n in (0, 1, 3, 100)] == [1, 1, 3, 4]
    with pytest.raises(ValueError, match='threads must be at least 1'):
        solve_chains(seen2d(tree(1), truth_of(tree(1))), threads=0)


def test_all_run_at_once_the_first_here():
    barrier, who = Barrier(3), []

    def meet():
        # It ends only if all run at once.
        barrier.wait(timeout=20)
        who.append(get_ident())

    FrameThreads(3).run([meet] * 3)
    assert len(set(who)) == 3
    assert get_ident() in who


def test_parts_are_all_rows_once():
    for n in (1, 2, 10):
        rows = [i for part in FrameThreads(3).parts(n) for i in part]
        assert rows == list(range(n))


@pytest.mark.parametrize('place', [0, 1])
def test_what_breaks_is_told_when_all_are_done(place):
    done = []

    def breaks():
        raise RuntimeError('no')

    tasks = [lambda: done.append(True)] * 2
    tasks[place] = breaks
    with pytest.raises(RuntimeError, match='no'):
        FrameThreads(2).run(tasks)
    assert done == [True]
