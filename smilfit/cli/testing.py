"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
from collections.abc import Sequence
from typing import Any

from smilfit.cli.command import run_command
from smilfit.cli.run_console import run_console
from smilfit.cli.train import FORMATTER, add_run_arguments, run_arguments_of


class _Parser(argparse.ArgumentParser):
    def parse_args(self, *args: Any, **kwargs: Any) -> Any:
        """Let options stand between the two files, and count these."""
        found = self.parse_intermixed_args(*args, **kwargs)
        if not found.compare and not 1 <= len(found.files) <= 2:
            self.error(f'give CHECKPOINT, or CONFIG CHECKPOINT; got {len(found.files)} files')
        return found


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = _Parser(prog=prog, description='Test a trained regressor.', formatter_class=FORMATTER)
    made.add_argument(
        'files',
        nargs='*',
        metavar='[CONFIG] CHECKPOINT',
        help='a checkpoint, with the config of its training before it if not the one that the checkpoint holds',
    )
    add_run_arguments(made)
    made.add_argument('--out', help='write the metrics to this .json; else <work dir>/benchmark/metrics.json')
    made.add_argument(
        '--no-ema', action='store_true', help='of a training with EMAHook, test the weights of the last step'
    )
    made.add_argument(
        '--refine',
        action='store_true',
        help="fit the body to what the network saw, from its prediction, as the config's `refinement` says",
    )
    made.add_argument(
        '--left-out-views',
        action='store_true',
        help='judge the model also in each view of which it sees only the others (three views at least); as many '
        'predictions more as there are views',
    )
    made.add_argument(
        '--compare',
        nargs=2,
        metavar=('A', 'B'),
        help='instead: what B is better or worse than A on the same frames, with intervals; each is a checkpoint or '
        'the comparison.npz of a benchmark folder',
    )
    return made


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
    given = run_arguments_of(arguments) | {'averaged': not arguments.no_ema, 'refine': arguments.refine}
    given['left_out_views'] = arguments.left_out_views
    with run_console() as console:
        done = apis.test(config, checkpoint, out=arguments.out, **given, listener=console)
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
        given = run_arguments_of(arguments) | {'listener': console}
        found = apis.compare(*arguments.compare, config, out=arguments.out, **given)
    if found is None:
        return
    width = max(len(d.name) for d in found.differences)
    print(f'{"":<{width}}  {"A":>9}  {"B":>9}  {"B - A":>9}  interval of B - A')
    for d in found.differences:
        verdict = f'{d.better} is better' if d.better else 'no difference shown'
        ends = f'[{d.low:.4g}, {d.high:.4g}]'
        print(f'{d.name:<{width}}  {d.a:>9.4g}  {d.b:>9.4g}  {d.difference:>9.3g}  {ends}  {verdict}')
    print(f'A: {arguments.compare[0]}\nB: {arguments.compare[1]}\n{found.n_frames} frames; {found.by}')
