"""Does the verdict tell right fits from wrong ones: 20 of each, in words.

    python -m benchmarks.believe [--out DIR] [--seed N] [--calibrate] [--only TEXT]

Right: made sessions fitted with their own model. Wrong: another species, a shuffled lookup, left for right, a false
camera kept, bones free to stretch. Prints the word of each, and of how many it is right: a right fit is to be good, a
wrong one not believable. `--calibrate` prints the range of every measure over right and over wrong cases of seeds
that the table does not judge; the shipped thresholds were chosen by it.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.believe_cases import Case, cases
from benchmarks.measuring import RESULTS, Row, print_rows, save
from smilfit.evaluation.verdict import (
    GOOD,
    NOT_BELIEVABLE,
    Verdict,
    judge,
    load_thresholds,
    session_numbers,
    stiffened,
)
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.registry import build_registrant
from smilfit.structures import FitResult
from smilfit.visualization import free_views, write_image

# Of these many, and of the judged seed none, the thresholds were chosen.
CALIBRATION_SEEDS = (7, 8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all cases; 1 where fewer than 95 % of either kind are told rightly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=RESULTS, help='folder for JSON, CSV and a picture of each'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the judged cases')
    parser.add_argument('--calibrate', action='store_true', help='print ranges over other seeds instead')
    parser.add_argument('--only', default='', help='cases whose name holds this text')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.calibrate:
        chosen = [c for seed in CALIBRATION_SEEDS for c in cases(seed, real=False)]
    else:
        chosen = cases(options.seed)
    judged = [(case, *judged_case(case, options.out)) for case in chosen if options.only in case.name]
    rows = [row for _, row, _ in judged]
    print_rows('Verdicts on fits', rows)
    if options.calibrate:
        print_ranges([(case, verdict) for case, _, verdict in judged])
        return 0
    right = [row['word'] == GOOD for row in rows if row['truth'] == 'right']
    wrong = [row['word'] == NOT_BELIEVABLE for row in rows if row['truth'] == 'wrong']
    print(f'\nright fits that are good: {sum(right)} of {len(right)}')
    print(f'wrong fits that are not believable: {sum(wrong)} of {len(wrong)}')
    save('believe', rows, options.out, seed=options.seed)
    return int(min(sum(right) / max(len(right), 1), sum(wrong) / max(len(wrong), 1)) < 0.95)


def judged_case(case: Case, out: Path) -> tuple[Row, Verdict]:
    """Fit and judge a case, and draw it from free viewpoints."""
    body, seen = case.make()
    cfg = case.config()
    fitter = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    stiff = build_registrant({**stiffened(cfg, fitter.handlers), 'body_model': body, 'verbose': False})
    inputs = [MultiviewKeypoint2dMSEInput(seen)]
    start = time.process_time()
    result = fitter(inputs)
    fitted = time.process_time()
    numbers = session_numbers(
        body,
        result,
        seen,
        inputs,
        lambda given, rows: fitter(given, frames=rows),
        lambda given, rows: stiff(given, frames=rows),
    )
    verdict = judge(numbers.values, load_thresholds(), numbers.frames)
    done = time.process_time()
    draw(case, result, out)
    row: Row = {
        'case': case.name,
        'truth': 'right' if case.right else 'wrong',
        'word': verdict.word,
        'median_px': float(np.median([row.fit_px for row in numbers.cameras])),
        'fit_s': fitted - start,
        'verdict_s': done - fitted,
        'because': '; '.join(verdict.reasons),
    }
    return row, verdict


def draw(case: Case, result: FitResult, out: Path) -> None:
    """Write the middle frame's picture."""
    shown = free_views(result.body, result.params[result.params.batch_size // 2])
    name = ''.join(c if c.isalnum() else '_' for c in case.name)
    write_image(out / 'believe' / f'{"right" if case.right else "wrong"}_{name}.png', shown)


def print_ranges(judged: Sequence[tuple[Case, Verdict]]) -> None:
    """Print of every measure where right and wrong cases lie, and how many of each its thresholds would tell."""
    values: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for case, verdict in judged:
        for measure in verdict.measures:
            values[measure.name][case.right].append(measure.value)
    rows = []
    for name, by_kind in values.items():
        row: Row = {'measure': name}
        for right, word in ((True, 'right'), (False, 'wrong')):
            low, middle, high = np.percentile(by_kind[right], (0, 50, 100)) if by_kind[right] else (None,) * 3
            row |= {f'{word} least': low, f'{word} median': middle, f'{word} most': high}
        rows.append(row)
    print_rows('Measures', rows)


if __name__ == '__main__':
    raise SystemExit(main())
