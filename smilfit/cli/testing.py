"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
from collections.abc import Sequence

from smilfit.cli.command import run_command
from smilfit.cli.train import FORMATTER, add_run_arguments, run_arguments_of


def build_parser(prog: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser."""
    made = argparse.ArgumentParser(
        prog=prog, description='Test a trained regressor.', formatter_class=FORMATTER
    )
    made.add_argument('config', help='the config of the training')
    made.add_argument('checkpoint', help='a checkpoint of that training')
    add_run_arguments(made)
    made.add_argument('--out', help='write the metrics to this .json; else <work dir>/benchmark/metrics.json')
    return made


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    return run_command(_run, build_parser, argv, prog)


def _run(arguments: argparse.Namespace) -> None:
    from smilfit import apis
    from smilfit.evaluation import strongest_baselines

    done = apis.test(arguments.config, arguments.checkpoint, out=arguments.out, **run_arguments_of(arguments))
    if done is None:
        return
    width = max(map(len, done.metrics), default=0)
    strongest = strongest_baselines(done.metrics)
    for name, value in done.metrics.items():
        best = strongest.get(name)
        beside = '' if best is None else f'  {best.sentence}'
        print(f'{name:<{width}}  {value:<9.4g}{beside}'.rstrip())
    if done.report is not None:
        print(f'report: {done.report}')
    print(f'metrics: {done.metrics_file}')
