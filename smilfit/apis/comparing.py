"""Compare two trained regressors on the same frames."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.run_options import CompareOptions, RunOptions
from smilfit.apis.testing import test
from smilfit.engine import read_checkpoint
from smilfit.evaluation import BenchmarkResult, PairedDifference, paired_differences
from smilfit.files import write_text


@dataclass(frozen=True)
class ComparisonRun:
    """B beside A: a difference for every number, what its interval rests on, and how many frames both have."""

    differences: list[PairedDifference]
    by: str
    n_frames: int


@with_options(CompareOptions, positional=('work_dir', 'out'))
def compare(
    a: str | Path, b: str | Path, config: str | Path | None = None, *, options: CompareOptions
) -> ComparisonRun | None:
    """Compute by how much B is better or worse than A on the frames that both answered, and how sure that is.

    Benchmark folders are written to the work dir's folders `a` and `b`; else to the checkpoints' folders.

    Args:
        a: a checkpoint, which is tested, or the `comparison.npz` of a benchmark folder.
        b: likewise.
        config: for the checkpoints; the one that each holds if None.

    Returns:
        What came out, in the first process; None in the others.

    Raises:
        BadFileError: a file that is no checkpoint.
        ValueError: they are not answers to the same frames.
    """
    out = options.out
    if out is not None:
        check_output_file(out, '--out')
        check_not_an_input(out, (a, b, config, options.body_model), '--out')
    for path in (a, b):
        # A test takes minutes: a file that is none is told before.
        if Path(path).suffix != '.npz':
            read_checkpoint(path)
    results = []
    for name, path in (('a', a), ('b', b)):
        if Path(path).suffix != '.npz':
            folder = None if options.work_dir is None else Path(options.work_dir) / name
            shared = {f.name: getattr(options, f.name) for f in fields(RunOptions)} | {'work_dir': folder}
            done = test(config, path, **shared)
            if done is None:
                continue
            if done.comparison is None:
                raise ValueError(
                    f'compare: {path} must be tested by a MultiViewPoseMetric; its test_evaluator has none. Name one '
                    f'by a config.'
                )
            path = done.comparison
        # Read at once: the second may write where the first did.
        results.append(BenchmarkResult.load(path))
    if len(results) < 2:
        return None
    differences, by = paired_differences(*results)
    keys = [set(zip(r.session.tolist(), r.frame.tolist())) for r in results]
    if out is not None:
        found = {'by': by, 'differences': [asdict(d) for d in differences]}
        write_text(out, json.dumps(found, indent=1) + '\n')
    return ComparisonRun(differences, by, len(keys[0] & keys[1]))
