"""Fits against peers: speed at equal or lower energy, and how far they can be relied on.

    python -m benchmarks.fitting [--only TABLE ...] [--quick] [--model FILE] [--out DIR]

One thread, float32, CPU time. Methods take turns on the same problems in one process; figures are medians over
problems. Energies are computed again from the returned parameters, in float64, by smplx. Every table is printed and
written as JSON and CSV with machine, load, threads, versions and commit.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.fitting.exchanged_sides import sides
from benchmarks.fitting.headings import headings
from benchmarks.fitting.keypoint_tables import keypoints3d, multiview, views
from benchmarks.fitting.mouse_session import mouse
from benchmarks.fitting.problems import plain_data
from benchmarks.fitting.reliability import coverage, outliers
from benchmarks.fitting.setting import Setting
from benchmarks.fitting.shipped import shipped, shipped_pictures
from benchmarks.fitting.shipped_engines import engines
from benchmarks.fitting.wrong_keypoints import wrong
from benchmarks.measuring import RESULTS, Row, print_rows, real_stick, save
from smilfit.body_models import load_body_model_data
from smilfit.registry import did_you_mean
from smilfit.synthetic import make_insect

# fmt: off
TABLES: dict[str, Callable[[Setting], list[Row]]] = {
    table.__name__: table
    for table in (
        engines, shipped, shipped_pictures, headings, keypoints3d, multiview, views, outliers, wrong, sides, mouse,
        coverage,
    )
}
# fmt: on
# Tables that are about a body of their own.
OTHER_BODIES = {
    'engines': "the demo's animal",
    'shipped': "the demo's animal and the mouse",
    'shipped_pictures': "the demo's animal",
    'mouse': 'SMILy_Mouse_static_joints',
    'sides': 'made animals and the mouse',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tables that were asked for."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.fitting',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', nargs='+', metavar='TABLE', help=f'of {", ".join(TABLES)}')
    parser.add_argument('--quick', action='store_true', help='a few frames and steps, to see that it runs')
    parser.add_argument('--model', type=Path, help='body model; the real stick insect if it is there')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    arguments = parser.parse_args(argv)
    chosen = arguments.only or list(TABLES)
    for name in chosen:
        if name not in TABLES:
            parser.error(f'no table {name!r}. {did_you_mean(name, TABLES)}')
    torch.set_num_threads(1)
    path = arguments.model or real_stick()
    setting = Setting(plain_data(load_body_model_data(path) if path else make_insect()), arguments.quick)
    for name in chosen:
        with _without_warnings():
            rows = TABLES[name](setting)
        model = OTHER_BODIES.get(name, setting.data.name)
        what = (TABLES[name].__doc__ or '').splitlines()[0]
        print_rows(f'{name}, {model}: {what}', rows)
        save(f'fitting_{name}', rows, arguments.out, table=name, model=model, quick=setting.quick)
    return 0


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Let the library say only what is wrong; afterwards as much as before."""
    logger = logging.getLogger('smilfit')
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


if __name__ == '__main__':
    sys.exit(main())
