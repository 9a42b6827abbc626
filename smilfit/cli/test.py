"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from smilfit.cli.train import FORMATTER, add_run_arguments

# pytest collects by name; this module is no test.
__test__ = False


def parser(prog: str | None = None) -> argparse.ArgumentParser:
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
    """Run the command."""
    arguments = parser(prog).parse_args(argv)
    from smilfit.engine import build_test_runner, choose_device, load_experiment, process_group

    logging.basicConfig(level=logging.INFO, format='%(message)s')
    cfg = load_experiment(arguments.config, arguments.cfg_options, arguments.work_dir)
    device = choose_device(arguments.device)
    cfg.launcher = arguments.launcher
    with process_group(arguments.launcher, device):
        runner = build_test_runner(
            cfg, arguments.checkpoint, body_model=arguments.body_model, device=arguments.device
        )
        metrics = runner.test()
        if runner.rank == 0:
            folder = Path(runner.work_dir) / 'benchmark'
            folder.mkdir(parents=True, exist_ok=True)
            out = Path(arguments.out) if arguments.out else folder / 'metrics.json'
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(metrics, indent=1, default=float) + '\n', encoding='utf-8')
            width = max(map(len, metrics), default=0)
            for name, value in metrics.items():
                print(f'{name:<{width}}  {value:.4g}')
            print(f'metrics: {out}')
            _write_benchmark(runner, folder)
    return 0


def _write_benchmark(runner, folder: Path) -> None:
    """Write raw errors, figures and the report, where the evaluator kept a comparison."""
    for metric in runner.test_evaluator.metrics:
        result = getattr(metric, 'result', None)
        if result is not None:
            print(f'benchmark: {result.save(folder / "comparison.npz")}')
