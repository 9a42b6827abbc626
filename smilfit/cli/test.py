"""`test`: measure a checkpoint on the test split and write the benchmark folder."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smilfit.apis.output_paths import check_not_an_input, check_output_file, check_output_folder
from smilfit.apis.shipped_configs import find_config
from smilfit.cli.errors import run_reporting_errors
from smilfit.cli.train import FORMATTER, add_run_arguments, hold_work_dir
from smilfit.files import MadeOf, OutputFolder, write_text

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
    """Run the command; 0 if all went well, 1 with a message on bad input."""
    arguments = parser(prog).parse_args(argv)
    return run_reporting_errors(_test, arguments)


def _test(arguments: argparse.Namespace) -> None:
    from smilfit.engine import choose_device, load_experiment, process_group

    config = find_config(arguments.config)
    cfg = load_experiment(config, arguments.cfg_options, arguments.work_dir)
    check_output_folder(cfg.work_dir, '--work-dir')
    if arguments.out is not None:
        check_output_file(arguments.out, '--out')
        check_not_an_input(arguments.out, (config, arguments.checkpoint, arguments.body_model), '--out')
    device = choose_device(arguments.device)
    cfg.launcher = arguments.launcher
    with process_group(arguments.launcher, device), hold_work_dir(cfg.work_dir):
        _run(cfg, arguments)


def _run(cfg: Any, arguments: argparse.Namespace) -> None:
    """Measure, and report in the first process."""
    from smilfit.engine import build_test_runner

    runner = build_test_runner(
        cfg, arguments.checkpoint, body_model=arguments.body_model, device=arguments.device
    )
    metrics = runner.test()
    if runner.rank == 0:
        _report(runner, metrics, Path(runner.work_dir) / 'benchmark', arguments)


def _report(runner, metrics: dict, folder: Path, arguments: argparse.Namespace) -> None:
    """Print the metrics, and write them and the benchmark folder, which is the old or the new one as a whole."""
    width = max(map(len, metrics), default=0)
    for name, value in metrics.items():
        print(f'{name:<{width}}  {value:.4g}')
    text = json.dumps(metrics, indent=1, default=float) + '\n'
    made_of = MadeOf({'checkpoint': Path(arguments.checkpoint).name}, {'config': Path(arguments.config).name})
    with OutputFolder(folder).make('benchmark', made_of) as staging:
        pages = [_write_result(runner, metric, staging) for metric in runner.test_evaluator.metrics]
        if arguments.out is None:
            (staging / 'metrics.json').write_text(text, encoding='utf-8')
    if any(pages):
        print(f'report: {folder / "report.html"}')
    path = folder / 'metrics.json' if arguments.out is None else write_text(arguments.out, text)
    print(f'metrics: {path}')


def _write_result(runner, metric, folder: Path) -> bool:
    """Write pictures, numbers and the page of a metric that keeps its results; False of one that does not."""
    from smilfit.apis.prediction_pictures import prediction_pictures, write_picture
    from smilfit.visualization import write_benchmark_folder

    result = getattr(metric, 'result', None)
    if result is None:
        return False
    model = getattr(runner.model, 'module', runner.model)
    pictures = prediction_pictures(model, runner.test_dataloader.dataset)
    write_benchmark_folder(result, folder, edges=_edges(model, result.keypoint_names), pictures=pictures)
    for i, picture in enumerate(pictures.values()):
        write_picture(folder / f'prediction_{i:02d}.png', picture)
    result.save(folder / 'comparison.npz')
    return True


def _edges(model, names: Sequence[str]) -> list[tuple[str, str]]:
    """Join keypoints that are joints to the nearest ancestor that is one."""
    data = model.body_model.data
    edges = []
    for j, name in enumerate(data.joint_names):
        parent = data.parents[j]
        while parent >= 0 and data.joint_names[parent] not in names:
            parent = data.parents[parent]
        if name in names and parent >= 0:
            edges.append((data.joint_names[parent], name))
    return edges
