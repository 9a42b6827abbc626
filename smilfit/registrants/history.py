"""What a fit's history says of a stage."""

from collections.abc import Mapping
from typing import Any

from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import StageOutcome
from smilfit.solvers import StopReason

# Of a stage that was not run.
NO_ENGINE = 'none'


def history_entry(stage: Stage, outcome: StageOutcome, terms: dict[str, float]) -> dict[str, Any]:
    """Summarise a stage: losses before and after, steps, why it stopped, and which engine ran."""
    result = outcome.result
    entry = {
        'stage': stage.name,
        'fit': list(stage.fit),
        'loss_start': result.loss_start,
        'loss_end': result.loss_end,
        'terms': terms,
        'steps': result.n_steps,
        'evaluations': result.n_evaluations,
        'recoveries': result.n_recoveries,
        'reason': result.reason.value,
        'solver': outcome.solver,
        'engine': outcome.engine,
        'frames_converged': int(outcome.converged.sum()),
    }
    if outcome.covariance is not None:
        entry['covariance_engine'] = outcome.covariance.engine
    return entry if outcome.engine_reason is None else entry | {'no_kernel_because': outcome.engine_reason}


def skipped_entry(stage: Stage) -> dict[str, Any]:
    """Return the entry of a stage that no frame is left for."""
    counts = dict.fromkeys(('steps', 'evaluations', 'recoveries', 'frames_converged'), 0)
    return {
        'stage': stage.name,
        'fit': list(stage.fit),
        'loss_start': 0.0,
        'loss_end': 0.0,
        'terms': {},
        **counts,
        'reason': StopReason.NOTHING_TO_FIT.value,
        'solver': '',
        'engine': NO_ENGINE,
    }


def sentence_of(entry: Mapping[str, Any]) -> str:
    """Write an entry out for the log."""
    terms = ', '.join(f'{key} {value:.4g}' for key, value in entry['terms'].items())
    reason = entry.get('no_kernel_because')
    engine = (
        entry['engine'] if reason is None else f'{entry["engine"]}, because the kernel does not take {reason}'
    )
    if 'covariance_engine' in entry:
        engine += f'; covariance: {entry["covariance_engine"]}'
    return (
        f'{entry["stage"]}: loss {entry["loss_start"]:.5g} -> {entry["loss_end"]:.5g} ({terms}) in '
        f'{entry["steps"]} steps, {entry["evaluations"]} evaluations; {entry["reason"]} [{engine}]'
    )
