"""Load every hostile pickle as a body model, in a process of its own with little memory; one line of JSON a case."""

import json
import sys
import tempfile
import time
from pathlib import Path

from smilfit.body_models import load_body_model_data
from tests.hostile.hostile_pickles import hostile_pickles
from tests.hostile.pickle_fuzz import limit_memory
from tests.hostile.pickle_writer import model


def attempt(path: Path, content: bytes) -> dict[str, object]:
    """Load one; tells the exception, its message, the CPU time it took and the most memory that was held."""
    path.write_bytes(content)
    outcome, message = 'accepted', ''
    # Makes the kernel's record of the most memory begin anew.
    Path('/proc/self/clear_refs').write_text('5')
    before, start = peak_bytes(), time.process_time()
    try:
        load_body_model_data(path)
    except ValueError as error:
        outcome, message = 'refused', str(error)
    except BaseException as error:
        outcome, message = type(error).__name__, str(error)[:200]
    seconds = time.process_time() - start
    report = {
        'outcome': outcome,
        'named': path.name in message,
        'characters': len(message),
        'message': message[:300],
    }
    return report | {'seconds': seconds, 'mb': (peak_bytes() - before) / 2**20}


def peak_bytes() -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith('VmHWM'))


def main() -> int:
    """Load a good model first, then all that are not."""
    cases = hostile_pickles()
    with tempfile.TemporaryDirectory() as folder:
        good = Path(folder, 'good.pkl')
        good.write_bytes(model())
        load_body_model_data(good)
        limit_memory()
        for name, content in cases.items():
            report = attempt(Path(folder, 'hostile.pkl'), content)
            print(json.dumps({'case': name, 'bytes': len(content)} | report), flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
