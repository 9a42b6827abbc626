"""What training and testing show: what runs on what, how far it is, and what validation found."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from smilfit.apis.progress import Progress
from smilfit.cli.terminal import ProgressBar

if TYPE_CHECKING:
    from smilfit.apis.progress import RunFacts

# So many lines are printed of a whole training; where there is no bar, one comes at least every so often.
LINES = 20
EVERY_S = 60.0


@contextmanager
def run_console(console: Console | None = None) -> Iterator['RunConsole']:
    """Return what prints a run on the console in this context; the bar goes with it."""
    shown = RunConsole(Console() if console is None else console)
    try:
        yield shown
    finally:
        shown.end()


class RunConsole:
    """Print a run: facts, a bar where there is a terminal, a line now and then, tables of validations.

    Args:
        console: where.
        now: seconds, from any beginning.
    """

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self.console, self.now = console, now
        self._bar = ProgressBar(console) if console.is_terminal else None
        self._first = self._printed = 0
        self._began = self._printed_at = now()

    def begun(self, facts: 'RunFacts') -> None:
        """Print what runs on what."""
        for name, text in fact_lines(facts):
            self._print(f'{name:<9} {text}')
        self._first = self._printed = facts.done
        self._began = self._printed_at = self.now()

    def progress(self, step: Progress) -> None:
        """Move the bar, and write a line where one is due."""
        if self._bar is not None:
            self._bar(step)
        if step.task == 'training' and self._is_due(step):
            self._printed, self._printed_at = step.done, self.now()
            self._print(f'{step.done:>{len(str(step.total))}}/{step.total}  {step.note}  {self._left(step)}')

    def validated(self, when: str, metrics: Mapping[str, float]) -> None:
        """Write what a validation found."""
        from smilfit.evaluation import metric_text

        self.end()
        self._print(f'validation after {when}:')
        for line in metric_text(metrics):
            self._print(f'  {line}')

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.end()

    def _is_due(self, step: Progress) -> bool:
        if step.done >= step.total or step.done - self._printed >= max(1, step.total // LINES):
            return True
        return self._bar is None and self.now() - self._printed_at >= EVERY_S

    def _left(self, step: Progress) -> str:
        took = self.now() - self._began
        if step.done >= step.total:
            return f'took {duration(took)}'
        return f'{duration(took / (step.done - self._first) * (step.total - step.done))} left'

    def _print(self, text: str) -> None:
        # Names are anybody's: neither markup nor numbers to colour.
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def fact_lines(facts: 'RunFacts') -> list[tuple[str, str]]:
    """Report in few lines what a run is about: (what, its value)."""
    training = facts.task == 'training'
    numbers = f'{facts.n_trained:,} {"numbers to train" if training else "numbers"}'
    lines = [(facts.task, f'{facts.model}, {numbers}')]
    if facts.body_model is not None:
        lines.append(('body', Path(facts.body_model).name))
    samples = f'{facts.n_samples:,} samples'
    if facts.n_validation is not None:
        samples += f', {facts.n_validation:,} more for validation'
    if len(facts.cameras) > 1:
        samples += f'; cameras {", ".join(facts.cameras)}'
    lines.append(('data', ', '.join(facts.data) or 'made while training'))
    lines.append(('', f'{samples}; {facts.keypoints} keypoints'))
    lines.append(('device', facts.device))
    if training:
        epochs = '' if facts.epochs is None else f' in {facts.epochs} epochs'
        going_on = f'; goes on after {facts.done:,}' if facts.done else ''
        lines.append(('length', f'{facts.total:,} iterations{epochs}{going_on}'))
    lines.append(('writes to', str(facts.work_dir)))
    if facts.log is not None:
        lines.append(('log', str(facts.log)))
    return lines


def duration(seconds: float) -> str:
    """Write a time as a person says it: `40 s`, `12 min`, `3 h 20 min`."""
    seconds = round(seconds)
    if seconds < 100:
        return f'{seconds} s'
    minutes = round(seconds / 60)
    if minutes < 100:
        return f'{minutes} min'
    return f'{minutes // 60} h {minutes % 60} min'


def command_of(prog: str | None, name: str) -> str:
    """Write another command as this one was called: by the installed name, or by the file in `tools/`."""
    return f'smilfit {name}' if prog is not None and prog.startswith('smilfit') else f'python tools/{name}.py'
