"""Does the verdict tell right fits from wrong ones: 20 of each, in words.

    python -m benchmarks.believe [--out DIR] [--seed N] [--only TEXT ...] [--pictures DIR] [--calibrate]

Right: sessions of made and shipped animals fitted with their own model, and two real mice. Wrong: another species, a
shuffled lookup, left for right, a false camera kept, bones free to stretch, masks of a barn, a rock and a log. Prints
the word of each, and of how many it is right: a right fit is to be good, a wrong one not believable. `--pictures`
writes a picture of each and `verdicts.txt`. `--calibrate` prints the range of every measure over right and over wrong
cases of a seed that the table does not judge; the shipped thresholds were chosen by it.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.believe.cases import cases
from benchmarks.believe.judging import Judged, draw, judged
from benchmarks.measuring import RESULTS, Row, print_rows, save
from smilfit.evaluation.verdict import GOOD, NOT_BELIEVABLE

# Of made cases of this seed, and of the judged seed none, the thresholds were chosen.
CALIBRATION_SEED = 7


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge all cases; 1 where fewer than 95 % of either kind are told rightly."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    parser.add_argument('--seed', type=int, default=0, help='of the judged cases')
    parser.add_argument('--calibrate', action='store_true', help='print ranges over another seed instead')
    parser.add_argument('--only', nargs='+', default=[''], help='cases whose names hold one of these texts')
    parser.add_argument('--pictures', type=Path, help='folder for a picture of each case')
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = cases(CALIBRATION_SEED, with_real=False) if options.calibrate else cases(options.seed)
    done: list[Judged] = []
    for case in chosen:
        if any(text in case.name for text in options.only):
            done.append(judged(case))
            print(f'{done[-1].row["truth"]}: {case.name}: {done[-1].verdict.word}', flush=True)
    rows = [found.row for found in done]
    print_rows('Verdicts on fits', rows)
    if options.pictures:
        write_pictures(done, options.pictures)
    if options.calibrate:
        print_rows('Measures', ranges(done))
        return 0
    right = [row['word'] == GOOD for row in rows if row['truth'] == 'right']
    wrong = [row['word'] == NOT_BELIEVABLE for row in rows if row['truth'] == 'wrong']
    print(f'\nright fits that are good: {sum(right)} of {len(right)}')
    print(f'wrong fits that are not believable: {sum(wrong)} of {len(wrong)}')
    save('believe', rows, options.out, seed=options.seed)
    return int(min(sum(right) / max(len(right), 1), sum(wrong) / max(len(wrong), 1)) < 0.95)


def write_pictures(done: Sequence[Judged], folder: Path) -> None:
    """Write a picture of each case, and their verdicts in words."""
    text = []
    for found in done:
        draw(found, folder / f'{found.case.slug}.png')
        reasons = ''.join(f'\n  - {reason}' for reason in found.verdict.reasons)
        truth = found.row['truth']
        text.append(f'{found.case.slug}.png\n{found.case.name} ({truth}): {found.verdict.word}{reasons}\n')
    (folder / 'verdicts.txt').write_text('\n'.join(text))


def ranges(done: Sequence[Judged]) -> list[Row]:
    """Say of every measure where right and wrong cases lie."""
    values: dict[str, dict[bool, list[float]]] = defaultdict(lambda: {True: [], False: []})
    for found in done:
        for measure in found.verdict.measures:
            values[measure.name][found.case.right].append(measure.value)
    rows = []
    for name, by_kind in values.items():
        row: Row = {'measure': name}
        for right, word in ((True, 'right'), (False, 'wrong')):
            low, middle, high = np.percentile(by_kind[right], (0, 50, 100)) if by_kind[right] else (None,) * 3
            row |= {f'{word} least': low, f'{word} median': middle, f'{word} most': high}
        rows.append(row)
    return rows


if __name__ == '__main__':
    raise SystemExit(main())
