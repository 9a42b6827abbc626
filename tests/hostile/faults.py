"""Break every tool off at its file operations, run the same command again, and compare with the unbroken result.

A process with the shim imports everything once and forks for each run. A fault is right if the second run gives what
one unbroken run gives, and if a full disk was reported in a sentence.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.hostile import fault_shim
from tests.hostile.fault_tools import TOOLS, Tool, differences

LIMIT_S = 120
KINDS = dict(zip('owftrmd', ('open', 'write', 'flush', 'truncate', 'rename', 'make', 'delete')))


@dataclass(frozen=True)
class Fault:
    """One fault and what came of it. `problems` is empty where the second run made all right."""

    tool: str
    at: int
    operation: str
    mode: str
    first: str
    problems: tuple[str, ...]
    seconds: float


def faults_of(tool: str, inputs: Path, work: Path, count: int) -> list[Fault]:
    """Inject `count` faults into a tool, spread over its operations and the modes."""
    one = TOOLS[tool]
    before, whole = work / 'before', work / 'whole'
    # Once in this process: what is imported late is then there for all.
    with _quiet():
        one.run(inputs, work / 'warm')
    if one.before is not None:
        _forked(one.before, inputs, before)
    code, done, _ = _run(one, inputs, before, whole, work, None)
    if code != 0:
        raise RuntimeError(f'{tool}: the unbroken run must end with 0; got {code}.')
    result = []
    for number, at in enumerate(_points(done, count)):
        # Where there are fewer operations than faults, each meets another mode the next time.
        mode = list(fault_shim.MODES)[(number + number // max(1, len(done))) % len(fault_shim.MODES)]
        begin = time.monotonic()
        out = work / 'broken'
        first, _, output = _run(one, inputs, before, out, work, (at, mode))
        problems = _problems_of_first(first, mode, output)
        second = _forked(one.run, inputs, out, work / 'output.txt')
        if second != 0:
            last = (work / 'output.txt').read_text().strip().splitlines()[-1:]
            problems.append(f'the second run ended with {second}: {" ".join(last)}')
        else:
            problems += differences(whole, out)
        end = first if first >= 0 else f'signal {-first}'
        seconds = time.monotonic() - begin
        result.append(Fault(tool, at, KINDS[done[at]], mode, f'{end}', tuple(problems), seconds))
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Let what this process prints go nowhere; loggers keep the streams that they found."""
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, handle in zip((1, 2), kept):
            os.dup2(handle, number)


def _points(done: str, count: int) -> list[int]:
    """Choose operations: all where they are few, else those that change what is believed, and others between."""
    if len(done) <= count:
        return [i % len(done) for i in range(count)] if done else []
    rare = [i for i, kind in enumerate(done) if kind in 'ro']
    chosen = set(rare[:: max(1, 2 * len(rare) // count)][: count // 2])
    others = [i for i in range(len(done)) if i not in chosen]
    wanted = count - len(chosen)
    return sorted(chosen | {others[int((k + 0.5) * len(others) / wanted)] for k in range(wanted)})


def _problems_of_first(code: int, mode: str, output: str) -> list[str]:
    if mode in ('kill', 'torn'):
        return [] if code in (-signal.SIGKILL, 0) else [f'the killed run ended with {code}']
    problems = []
    if 'Traceback' in output:
        problems.append(f'a full disk ended in a traceback: {output[-1500:]}')
    if code not in (0, 1):
        problems.append(f'a full disk ended with {code}')
    if code == 1 and 'disk' not in output.lower():
        problems.append(f'a full disk was reported so: {" ".join(output.strip().splitlines()[-1:])}')
    return problems


def _run(
    tool: Tool, inputs: Path, before: Path, out: Path, work: Path, fault: tuple[int, str] | None
) -> tuple[int, str, str]:
    """Run once in a fresh folder; gives the exit code (negative: a signal), the operations, and what was reported."""
    shutil.rmtree(out, ignore_errors=True)
    if before.is_dir():
        shutil.copytree(before, out)
    out.mkdir(parents=True, exist_ok=True)
    output, done = work / 'output.txt', work / 'operations.txt'
    done.unlink(missing_ok=True)
    code = _forked(tool.run, inputs, out, output, fault or (-1, 'kill'), done)
    return code, done.read_text() if done.is_file() else '', output.read_text(errors='replace')


def _forked(
    run, inputs: Path, out: Path, output: Path | None = None, fault=None, done: Path | None = None
) -> int:
    """Run in a fork, within a limit of time."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            target = os.open(output or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, 1)
            os.dup2(target, 2)
            signal.alarm(LIMIT_S)
            if fault is not None:
                fault_shim.arm(out, *fault)
            code = run(inputs, out)
            if done is not None:
                operations = fault_shim.operations()
                done.write_text(operations)
        except BaseException:  # A fork must never go on as its parent would.
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def inject(tools: list[str], inputs: Path, work: Path, count: int) -> list[Fault]:
    """Inject faults by a process with the shim; gives what came of each.

    Args:
        tools: names of `fault_tools.TOOLS`.
        inputs: of `small_inputs`.
        work: for results that are compared; emptied.
        count: faults a tool.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [
        sys.executable,
        '-m',
        'tests.hostile.faults',
        str(inputs),
        str(work),
        str(count),
        *tools,
    ]
    root = Path(__file__).resolve().parents[2]
    subprocess.run(command, check=True, env=fault_shim.environment(), cwd=root)
    lines = json.loads((work / 'faults.json').read_text())
    return [Fault(**line | {'problems': tuple(line['problems'])}) for line in lines]


def main() -> None:
    """Run in the process that has the shim."""
    inputs, work, count, tools = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    result = []
    if 'test' in tools and not (inputs / 'trained' / 'epoch_2.pth').is_file():
        _forked(TOOLS['train'].run, inputs, inputs / 'trained')
    for tool in tools:
        result += faults_of(tool, inputs, work / tool.replace(' ', '_'), count)
        (work / 'faults.json').write_text(json.dumps([asdict(fault) for fault in result], indent=1))


if __name__ == '__main__':
    main()
