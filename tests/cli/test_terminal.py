"""The terminal: bars, one task at a time whatever its name, and tables."""

import io

import pytest
from rich.console import Console

from smilfit.apis.progress import counted, steps
from smilfit.cli.terminal import print_table, progress_bar


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


def test_a_table_has_dashes_and_reads_no_markup(capsys):
    rows = [('[red]a session of a long name', None), ('b', 1.5)]
    print_table('of [mm]', ('name', 'px'), rows, text=('name',), least_width=200)
    shown = capsys.readouterr().out
    assert 'of [mm]' in shown
    name, number = (cell.strip() for cell in shown.splitlines()[4].strip(' │').split('│'))
    assert (name, number) == ('[red]a session of a long name', '-')
    assert '1.5' in shown
