"""Fuzz the pickle reader, and what makes a body model of it: `python -m tests.hostile.pickle_fuzz --seconds 600`.

Every case is made of the seed and its number alone: `--only N` runs one again. Only UnsafePickleError or ValueError
may come out, with the place named, or a value of plain containers, numbers, text and arrays that own their memory.
"""

import argparse
import json
import logging
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from smilfit.body_models.files.model_arrays import StandIn, as_array, read_pickle_bytes, whole_numbers
from smilfit.body_models.files.smal_file import body_from_arrays
from tests.hostile.pickle_mutations import invented, mutated, typed
from tests.hostile.pickle_seeds import seeds

MEMORY_BYTES = 2 << 30
LONGEST_MESSAGE = 2000
PLAIN = (str, bytes, bool, int, float, type(None))


def case(seed: int, number: int, sources: list[bytes]) -> bytes:
    """Make a case of its number."""
    draw = Random(f'{seed}:{number}')
    way = draw.random()
    return typed(draw) if way < 0.3 else invented(draw) if way < 0.6 else mutated(sources, draw)


def check(data: bytes) -> str:
    """Read a case; gives what came of it, and raises what must not come out."""
    where = 'fuzzed.pkl'
    try:
        value = read_pickle_bytes(data, where)
    except ValueError as error:
        return _checked_message(error, where)
    check_plain(value)
    if not isinstance(value, dict):
        _refused(as_array, value, where)
        return 'value'
    for item in value.values():
        _refused(as_array, item, where)
        _refused(whole_numbers, item, where)
    return 'dict' if _refused(body_from_arrays, value, Path(where)) else 'model'


def _refused(function: Any, value: Any, where: Any) -> bool:
    try:
        function(value, where)
    except ValueError as error:
        _checked_message(error, str(where))
        return True
    return False


def _checked_message(error: ValueError, where: str) -> str:
    message = str(error)
    assert where in message or 'fuzzed' in message, message[:300]
    assert len(message) < LONGEST_MESSAGE, len(message)
    message.encode('utf-8')
    return type(error).__name__


def check_plain(value: Any) -> None:
    """Fail where a value holds anything that could do more than be looked at."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (np.ndarray, np.generic)):
            assert item.dtype.kind in 'biufSU', item.dtype
            if isinstance(item, np.ndarray):
                assert item.flags.owndata, 'memory of another'
                assert item.flags.writeable, 'read only'
        elif type(item) is dict:
            waiting += [*item, *item.values()]
        elif type(item) in (list, tuple, set):
            waiting += item
        elif type(item) is StandIn:
            waiting += [item.origin, item.arguments, item.state]
        else:
            assert type(item) in PLAIN, type(item)


def limit_memory() -> None:
    """Let this process take so much more than it has now, and no more."""
    import resource

    now = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY_BYTES, now + MEMORY_BYTES))


def main() -> int:
    """Run cases by number or by time, and print one line of JSON."""
    import resource

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--cases', type=int, default=sys.maxsize)
    parser.add_argument('--seconds', type=float, default=float('inf'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', type=int)
    arguments = parser.parse_args()
    logging.getLogger('smilfit').setLevel(logging.ERROR)
    warnings.simplefilter('error')
    # Sums of numbers of a file's overflow; what is no finite number is refused by the model's rules.
    warnings.simplefilter('ignore', RuntimeWarning)
    limit_memory()
    sources, outcomes, slowest, start = seeds(), Counter(), (0.0, -1), time.monotonic()
    numbers = range(arguments.cases) if arguments.only is None else [arguments.only]
    for number in numbers:
        begin = time.monotonic()
        if begin - start > arguments.seconds:
            break
        data = case(arguments.seed, number, sources)
        try:
            outcomes[check(data)] += 1
        except BaseException:
            print(f'seed {arguments.seed}, case {number}: {data[:4000].hex()}', file=sys.stderr)
            raise
        slowest = max(slowest, (time.monotonic() - begin, number))
    report = {'seed': arguments.seed, 'cases': sum(outcomes.values()), 'outcomes': dict(outcomes)}
    report |= {'slowest_s': round(slowest[0], 3), 'slowest_case': slowest[1]}
    report |= {'seconds': round(time.monotonic() - start, 1)}
    print(json.dumps(report | {'peak_mb': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
    return 0


if __name__ == '__main__':
    sys.exit(main())
