"""What training and testing show: lines where nobody watches, a bar where somebody does."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from smilfit.apis.progress import Progress, RunFacts, losses_in_words
from smilfit.cli.networks.run_console import LINES, RunConsole, command_of, duration, run_console
from smilfit.evaluation import metric_lines, metric_text

FACTS = RunFacts(
    task='training',
    model='KeypointRegressor',
    n_trained=1234567,
    body_model='models/[mouse].pkl',
    data=('out.h5',),
    n_samples=282,
    n_validation=10,
    cameras=('back', 'top'),
    keypoints=15,
    device='cpu, 1 thread',
    work_dir=Path('work'),
    log=Path('work/a.log'),
    epochs=4,
    done=100,
    total=400,
)


def told(terminal: bool, seconds_a_step: float) -> list[str]:
    screen, clock = io.StringIO(), [0.0]
    console = Console(file=screen, force_terminal=terminal, width=200)
    shown = RunConsole(console, now=lambda: clock[0])
    shown.begun(FACTS)
    for done in range(101, 401):
        clock[0] += seconds_a_step
        shown.progress(Progress('training', done, 400, 'epoch 1: loss 2'))
    shown.end()
    return screen.getvalue().splitlines()


def test_a_log_has_facts_and_a_line_now_and_then():
    lines = told(terminal=False, seconds_a_step=0.1)
    text = '\n'.join(lines)
    assert 'KeypointRegressor, 1,234,567 numbers to train' in text
    assert '[mouse].pkl' in text
    assert '282 samples, 10 more for validation; cameras back, top; 15 keypoints' in text
    assert '400 iterations in 4 epochs; goes on after 100' in text
    # Three quarters of the training.
    steps = [line for line in lines if 'loss 2' in line]
    assert len(steps) == LINES * 3 // 4
    assert steps[0] == '120/400  epoch 1: loss 2  28 s left'
    assert steps[-1] == '400/400  epoch 1: loss 2  took 30 s'
    # A slow one says every minute that it is alive.
    slow = [line for line in told(terminal=False, seconds_a_step=30.0) if 'loss 2' in line]
    assert slow[0] == '102/400  epoch 1: loss 2  2 h 29 min left'


def test_a_terminal_has_a_bar():
    text = '\n'.join(told(terminal=True, seconds_a_step=0.1))
    assert '━' in text
    assert '400/400' in text


def test_the_bar_goes_with_an_error():
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(ValueError, match='bad'), run_console(console) as shown:
        shown.progress(Progress('training', 1, 5))
        raise ValueError('bad')
    assert console._live_stack == []


def test_losses_and_numbers_in_words():
    losses = {
        'loss': 5.0,
        'loss_heatmap': 3.0,
        'centre_loss': 1.5,
        'loss_a': 0.4,
        'loss_b': 0.1,
        'loss_c': 0.0,
    }
    assert losses_in_words(losses) == 'loss 5 (heatmap 3, centre 1.5, a 0.4)'
    assert losses_in_words({'loss': 5.0, 'loss_one': 5.0}) == 'loss 5'
    metrics = {
        'val/pck_5px_original': 0.5,
        'val/pck_baseline_5px_original': 0.6,
        'val/mpjpe_mm': 3.0,
        'val/mpjpe_baseline_mm': 12.0,
        'val/mpjpe_p50_mm': 2.0,
        'val/n_samples': 4,
        'val/whiskers': 7.0,
        'val/names': ['a'],
    }
    # The chosen ones, and whatever a metric of a user's own gives.
    names = [line.name for line in metric_lines(metrics)]
    assert names == ['val/pck_5px_original', 'val/mpjpe_mm', 'val/whiskers']
    first, second, third = metric_text(metrics)
    assert first.endswith('50.0 %  NO BETTER than 60.0 % of the mean pose at the mean position')
    assert second.endswith('3.0 mm  better than 12.0 mm of the mean pose at the mean position')
    assert third.split() == ['val/whiskers', '7']
    # Metrics of other units, and of none, are in words too.
    assert metric_lines({'mpjpe_unknown_unit': 1.0})[0].value == '1.0 unknown unit'


def test_words_of_commands_and_times():
    assert command_of('smilfit train', 'test') == 'smilfit test'
    assert command_of(None, 'test') == 'python tools/test.py'
    assert [duration(s) for s in (7.4, 600, 12000)] == ['7 s', '10 min', '3 h 20 min']
