"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smilfit.apis.run_options import CompareOptions, TestOptions
from smilfit.cli.command import run_command
from smilfit.cli.networks.run_console import run_console
from smilfit.cli.networks.train import rank_of_process
from smilfit.cli.parser import given, make_parser
from smilfit.options.fields import option


@dataclass(frozen=True)
class Command(TestOptions):
    """What a command line says."""

    files: tuple[str, ...] = option(
        (),
        'a checkpoint, with the config of its training before it if not the one that the checkpoint holds',
        positional=True,
        metavar='[CONFIG] CHECKPOINT',
    )
    compare: tuple[str, str] | None = option(
        None,
        'instead: what B is better or worse than A on the same frames, with intervals; each is a checkpoint or the '
        'comparison.npz of a benchmark folder',
        metavar=('A', 'B'),
    )
    local_rank: int = rank_of_process()


class _Parser(argparse.ArgumentParser):
    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Let options stand between the two files, and count these."""
        result = self.parse_intermixed_args(*args, **kwargs)
        if not result.compare and not 1 <= len(result.files) <= 2:
            self.error(f'give CHECKPOINT, or CONFIG CHECKPOINT; got {len(result.files)} files')
        return result


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    return make_parser(Command, prog, 'Test a trained regressor.', made_by=_Parser)


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    files = arguments.files
    if arguments.compare:
        _compare(arguments)
        return

    from smilfit import apis
    from smilfit.evaluation import metric_text

    config, checkpoint = (None, *files) if len(files) == 1 else files
    with run_console() as console:
        done = apis.test(config, checkpoint, **given(arguments, TestOptions), listener=console)
    if done is None:
        return
    for line in metric_text(done.metrics, done.intervals):
        print(line)
    if done.intervals is not None:
        print(f'in brackets: {done.intervals.by}' if done.intervals.bounds else done.intervals.by)
    if done.report is not None:
        print(f'report: {done.report}')
    print(f'all {len(done.metrics)} numbers: {done.metrics_file}')


def _compare(arguments: argparse.Namespace) -> None:
    if len(arguments.files) > 1:
        raise ValueError(
            f'test --compare: give at most one CONFIG beside the two; got {len(arguments.files)} files. See --help.'
        )
    from smilfit import apis

    config = arguments.files[0] if arguments.files else None
    with run_console() as console:
        options = given(arguments, CompareOptions)
        result = apis.compare(*arguments.compare, config, **options, listener=console)
    if result is None:
        return
    width = max(len(d.name) for d in result.differences)
    print(f'{"":<{width}}  {"A":>9}  {"B":>9}  {"B - A":>9}  interval of B - A')
    for d in result.differences:
        verdict = f'{d.better} is better' if d.better else 'no difference shown'
        ends = f'[{d.low:.4g}, {d.high:.4g}]'
        print(f'{d.name:<{width}}  {d.a:>9.4g}  {d.b:>9.4g}  {d.difference:>9.3g}  {ends}  {verdict}')
    print(f'A: {arguments.compare[0]}\nB: {arguments.compare[1]}\n{result.n_frames} frames; {result.by}')
