"""Run cases on request: one line of JSON asks for a case, one line answers with CPU seconds and the figure.

The code measured is that of the checkout that comes first on the path; the cases are always this checkout's.
"""

import json
import logging
import sys
import time
import warnings
from typing import Any

import torch

from benchmarks.before_after.cases import Case, cases


def main() -> int:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    logging.getLogger('smilfit').setLevel(logging.ERROR)
    # What libraries print must not come between the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    made: dict[str, Case] = {}
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line), made)), file=answers, flush=True)
    return 0


def answer(asked: dict[str, str], made: dict[str, Case]) -> dict[str, Any]:
    """Run a case once; the first time it is made and warmed up before."""
    name = asked['case']
    try:
        if name not in made:
            made.clear()
            made[name] = cases()[name]()
            made[name]()
        start = time.process_time()
        figure = made[name]()
        return {'seconds': time.process_time() - start, 'figure': figure}
    except Exception as error:
        return {'error': f'{type(error).__name__}: {error}'}


if __name__ == '__main__':
    sys.exit(main())
