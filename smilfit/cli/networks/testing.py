"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from smilfit.apis.run_options import CompareOptions, TestOptions
from smilfit.cli.command import command
from smilfit.cli.networks.run_console import run_console
from smilfit.cli.networks.train import rank_of_process
from smilfit.cli.parser import keywords_of
from smilfit.options.fields import option


@dataclass(frozen=True)
class Arguments(TestOptions):
    """A command line of `test`."""

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
    def parse_args(  # type: ignore[override]  # argparse has overloads
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Let options stand between the two files, and count these."""
        result = self.parse_intermixed_args(args, namespace)
        if not result.compare and not 1 <= len(result.files) <= 2:
            self.error(f'give CHECKPOINT, or CONFIG CHECKPOINT; got {len(result.files)} files')
        return result


@command(Arguments, 'test', 'Test a trained regressor.', made_by=_Parser)
def main(options: Arguments) -> None:
    """Run the command."""
    if options.compare:
        _compare(*options.compare, options)
        return

    from smilfit.evaluation import metric_text, protocol_lines
    from smilfit.networks.tasks.evaluating import test

    *config, checkpoint = options.files
    with run_console() as console:
        keywords = keywords_of(options, TestOptions, listener=console)
        done = test(config[0] if config else None, checkpoint, **keywords)
    if done is None:
        return
    scores = {n: v for n, v in done.metrics.items() if n.partition('/')[0] in options.protocol}
    own = {n: v for n, v in done.metrics.items() if n not in scores}
    for line in metric_text(own, done.intervals):
        print(line)
    for name in options.protocol:
        figures = {n.partition('/')[2]: v for n, v in scores.items() if n.startswith(f'{name}/')}
        print('\n'.join(protocol_lines(name, figures)))
    if done.intervals is not None:
        print(f'in brackets: {done.intervals.by}' if done.intervals.bounds else done.intervals.by)
    if done.report is not None:
        print(f'report: {done.report}')
    print(f'all {len(done.metrics)} numbers: {done.metrics_file}')


def _compare(first: str, second: str, options: Arguments) -> None:
    if len(options.files) > 1:
        raise ValueError(
            f'test --compare: give at most one CONFIG beside the two; got {len(options.files)} files. See --help.'
        )
    from smilfit.networks.tasks.evaluating import compare

    config = options.files[0] if options.files else None
    with run_console() as console:
        result = compare(first, second, config, **keywords_of(options, CompareOptions, listener=console))
    if result is None:
        return
    width = max(len(d.name) for d in result.differences)
    print(f'{"":<{width}}  {"A":>9}  {"B":>9}  {"B - A":>9}  interval of B - A')
    for d in result.differences:
        verdict = f'{d.better} is better' if d.better else 'no difference shown'
        ends = f'[{d.low:.4g}, {d.high:.4g}]'
        print(f'{d.name:<{width}}  {d.a:>9.4g}  {d.b:>9.4g}  {d.difference:>9.3g}  {ends}  {verdict}')
    print(f'A: {first}\nB: {second}\n{result.n_frames} frames; {result.by}')
