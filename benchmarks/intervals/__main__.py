"""How many labels of a camera that a fit did not see lie in its intervals.

    python -m benchmarks.intervals [--only made|real] [--sessions N] [--out DIR]

Made sessions: landmarks with offsets that nobody knows, parts of other sizes, shapes and poses are drawn as the
priors say; one of four cameras is left out. Real ones: each camera in turn. The labels' noise is found in the cameras
of the fit. Prints tables, and draws the shares that are held over those that should be.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from benchmarks.intervals.coverage import NOMINAL, LeftOut, curve, left_out, scaled_by_others
from benchmarks.intervals.made_sessions import LEFT_OUT, MADE, NOISE_PX, Made, fit_without, make_session
from benchmarks.intervals.real_sessions import REAL, Real, fit_real, read_real
from benchmarks.measuring import RESULTS, Row, print_rows, save
from smilfit.evaluation import held, in_cameras

GOAL = (87.0, 93.0)
ONE_SCALE = ', one scale'


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.intervals',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', choices=('made', 'real'))
    parser.add_argument('--sessions', type=int, default=8, help='of each made kind')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON, CSV and the figure')
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    logging.getLogger('smilfit').setLevel(logging.ERROR)
    curves: dict[str, Mapping[str, float]] = {}
    if options.only != 'real':
        rows = [row for kind in MADE for row in made(kind, options.sessions, curves)]
        print_rows(f'Made sessions, {options.sessions} of each: % of left-out labels in intervals', rows)
        save('intervals_made', rows, options.out, sessions=options.sessions)
    if options.only != 'made':
        rows = [row for kind in REAL for row in real(kind, curves)]
        if rows:
            print_rows('Real sessions: % of left-out labels in intervals', rows)
            save('intervals_real', rows, options.out)
        else:
            print('no real data; set SMILFIT_REAL_DATA')
    options.out.mkdir(parents=True, exist_ok=True)
    save('intervals_curves', [{'session': name, **found} for name, found in curves.items()], options.out)
    draw(curves, options.out / 'intervals.svg')
    return 0


def made(kind: Made, count: int, curves: dict[str, Mapping[str, float]]) -> list[Row]:
    """Measure made sessions of a kind."""
    known, found, places, outs = [], [], [], []
    for seed in range(count):
        session = make_session(kind, seed)
        out = left_out(session.seen, LEFT_OUT, lambda camera, s=session: fit_without(kind, s, camera))
        outs.append(out)
        # Of wrong labels no interval is meant to know.
        right = replace(session.seen, confidence=session.seen.confidence * ~session.wrong)
        there, labels = in_cameras(out.expected, right, [LEFT_OUT])
        c = session.seen.rig.names.index(LEFT_OUT)
        known.append(there.scores(labels, NOISE_PX).flatten())
        found.append(there.scores(labels, out.noise_px).flatten())
        places.append(((session.true_xy[:, [c]] - there.xy) / there.sd()).flatten())
    every = torch.cat(found)
    curves[kind.name] = curve(every)
    by_session = torch.tensor([100 * held(x, 0.9) for x in found])
    row: Row = {
        'session': kind.name,
        'noise found px': _mean(outs, 'noise_px'),
        'left-out px': _mean(outs, 'median_px'),
        "fit's sd px": _mean(outs, 'fit_sd_px'),
        '90 %, noise known': 100 * held(torch.cat(known), 0.9),
        '90 %, noise found': 100 * held(every, 0.9),
        'lowest session': float(by_session.min()),
        'highest session': float(by_session.max()),
        '90 % of true places': 100 * held(torch.cat(places), 0.9),
    }
    row['goal met'] = all(GOAL[0] <= row[f'90 %, noise {k}'] <= GOAL[1] for k in ('known', 'found'))
    return [row]


def real(kind: Real, curves: dict[str, Mapping[str, float]]) -> list[Row]:
    """Measure a real session, each camera left out in turn."""
    read = read_real(kind)
    if read is None:
        return []
    body, seen = read
    outs = [left_out(seen, camera, lambda c: fit_real(body, seen, c)) for camera in seen.rig.names]
    scaled, scales = scaled_by_others([out.scores for out in outs])
    rows: list[Row] = []
    for out, after in zip(outs, scaled):
        rows.append(_real_row(kind, out.camera, [out], [after]))
    rows.append(_real_row(kind, 'all', outs, scaled))
    rows[-1]['one scale'] = float(scales.median())
    curves[kind.name] = curve(torch.cat([out.scores.flatten() for out in outs]))
    curves[kind.name + ONE_SCALE] = curve(torch.cat([x.flatten() for x in scaled]))
    return rows


def _real_row(kind: Real, camera: str, outs: Sequence[LeftOut], scaled: Sequence[torch.Tensor]) -> Row:
    after = torch.cat([x.flatten() for x in scaled])
    return {
        'session': kind.name,
        'left out': camera,
        'noise found px': _mean(outs, 'noise_px'),
        'left-out px': _mean(outs, 'median_px'),
        "fit's sd px": _mean(outs, 'fit_sd_px'),
        '90 % fitted': 100 * held(torch.cat([out.fitted.flatten() for out in outs]), 0.9),
        '90 % left out': 100 * held(torch.cat([out.scores.flatten() for out in outs]), 0.9),
        **{f'{p:.0%}, one scale': 100 * held(after, p) for p in (0.5, 0.9, 0.99)},
        'one scale': None,
    }


def _mean(outs: Sequence[LeftOut], name: str) -> float:
    return sum(getattr(out, name) for out in outs) / len(outs)


def draw(curves: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw shares held over shares that should be."""
    figure, axes = plt.subplots(figsize=(7, 5.5), layout='constrained')
    axes.plot([50, 100], [50, 100], color='0.8', lw=1)
    axes.errorbar(90, 90, sum(GOAL) / 2 - GOAL[0], color='0.5', capsize=4, lw=1, label='the goal')
    nominal = [100 * p for p in NOMINAL]
    colours: dict[str, str] = {}
    for name, found in curves.items():
        session = name.removesuffix(ONE_SCALE)
        style = ':' if session in {kind.name for kind in MADE} else '--' if session != name else '-'
        colour = colours.setdefault(session, f'C{len(colours)}')
        axes.plot(nominal, list(found.values()), style, color=colour, marker='o', ms=3, label=name)
    axes.set(xlabel='intervals that should hold so many, %', ylabel='left-out labels held, %', ylim=(0, 101))
    axes.legend(fontsize='x-small', loc='lower right')
    with plt.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'smilfit'}):
        figure.savefig(path, metadata={'Date': None})
    plt.close(figure)
    print(f'figure: {path}')


if __name__ == '__main__':
    sys.exit(main())
