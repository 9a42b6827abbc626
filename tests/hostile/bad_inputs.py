"""Command lines that cannot work: each must be refused in a sentence that says what to do, before work starts.

python -m tests.hostile.bad_inputs [--only REGEX] [--json FILE] [--keep FOLDER]
"""

import argparse
import contextlib
import io
import json
import logging
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import torch

from smilfit import apis
from smilfit.cli.main import COMMANDS, command_module
from tests.hostile.bad_fit import FIT
from tests.hostile.bad_preprocess import PREPROCESS
from tests.hostile.bad_test import TEST
from tests.hostile.bad_train import TRAIN
from tests.hostile.command_inputs import all_inputs
from tests.hostile.command_runs import Case, Outcome, faults, run_case

CASES = (*PREPROCESS, *TRAIN, *TEST, *FIT)


def run_cases(cases: Iterable[Case], folder: Path) -> tuple[dict[str, Outcome], list[str]]:
    """Make the inputs and run cases one by one.

    Returns:
        Outcomes by name, and the input files that are not what they were before.
    """
    # A child has none of its parent's threads, and would wait for them without end.
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with contextlib.redirect_stdout(io.StringIO()):
        inputs = all_inputs(folder / 'inputs')
    logging.getLogger().handlers.clear()
    for command in COMMANDS:
        command_module(command)
    for name in apis.__all__:
        getattr(apis, name)
    before = _content(folder / 'inputs')
    result = {}
    for case in cases:
        result[case.name] = run_case(case, inputs.paths, folder / 'runs' / re.sub(r'\W+', '_', case.name))
    after = _content(folder / 'inputs')
    changed = [name for name in {*before, *after} if before.get(name) != after.get(name)]
    return result, sorted(changed)


def _content(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob('*') if p.is_file() and '__pycache__' not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the table; 0 if every case is refused as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--only', default='', help='run the cases whose name has this')
    parser.add_argument('--json', type=Path, help='write all outcomes here')
    parser.add_argument('--keep', type=Path, help='work in this folder, and keep it')
    arguments = parser.parse_args(argv)
    cases = [case for case in CASES if re.search(arguments.only, case.name)]
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix='bad_inputs_'))
    try:
        outcomes, changed = run_cases(cases, folder)
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    wrong = {case.name: faults(case, outcomes[case.name]) for case in cases}
    for name in (name for name, result in wrong.items() if result):
        print(f'{name}: {"; ".join(wrong[name])}\n    {outcomes[name].err.strip()[-600:]}')
    for name in changed:
        print(f'input changed: {name}')
    if arguments.json is not None:
        records = {name: {**outcomes[name].record(), 'faults': wrong[name]} for name in outcomes}
        arguments.json.write_text(json.dumps({'changed': changed, 'cases': records}, indent=1))
    refused = sum(not result for result in wrong.values())
    slowest = max((outcome.seconds for outcome in outcomes.values()), default=0)
    print(f'{refused} of {len(cases)} refused as they should be; slowest {slowest:.1f} s')
    return int(bool(changed) or refused < len(cases))


if __name__ == '__main__':
    sys.exit(main())
