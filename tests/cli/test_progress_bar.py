"""The terminal's bar: one task at a time, whatever its name."""

import io

import pytest
from rich.console import Console

from smilfit.apis.progress import counted, steps
from smilfit.cli.terminal import progress_bar


def test_tasks_follow_one_another():
    screen = io.StringIO()
    with progress_bar(True, Console(file=screen, force_terminal=True, width=120)) as report:
        for task in ('session_{0} [red]', 'session_{0} [red]: overlay', 'nothing'):
            total = 0 if task == 'nothing' else 3
            with steps(task, total, report) as step:
                assert list(counted(range(total), step)) == list(range(total))
    shown = screen.getvalue()
    assert 'session_{0} [red] ' in shown
    assert 'session_{0} [red]: overlay' in shown
    assert '3/3' in shown


def test_a_bar_ends_with_what_stopped_the_work():
    with pytest.raises(KeyboardInterrupt), progress_bar(True) as report, steps('a', 3, report) as step:
        step()
        raise KeyboardInterrupt
    # Another bar can begin: the first one is gone.
    with progress_bar(True) as report, steps('b', 1, report) as step:
        step()
    with progress_bar(False) as report:
        assert report is None
