"""What a fit's history says of a stage."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BaseInput
from smilfit.handlers.keypoint_input import KeypointInput
from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import StageOutcome
from smilfit.solvers import StopReason
from smilfit.structures import Cameras, FitResult, FittedModel, Keypoints3d
from smilfit.structures.body import by_blocks
from smilfit.structures.cameras import LARGEST

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


def observed_names(inputs: Mapping[str, BaseInput]) -> tuple[str, ...]:
    """Name the keypoints that somebody observed, once each."""
    result = (i.keypoints.names for i in inputs.values() if isinstance(i, KeypointInput))
    return tuple(dict.fromkeys(name for names in result for name in names))


def described(result: FitResult, body: SMIL, cameras: Cameras | None, names: Sequence[str]) -> FitResult:
    """Add the body model's name, the cameras that saw, and the fitted keypoints.

    Where no keypoint was observed, these are the joints and the landmarks. Frames that were not fitted have keypoints
    of confidence 0.
    """
    names = tuple(names) or (*body.joint_names, *body.data.landmarks)
    fitted = result.fitted
    with torch.no_grad():
        params = result.params.to(body.v_template)
        xyz = by_blocks(params.batch_size, lambda rows: body(params[rows], names).select(names))
    valid = fitted.to(xyz.device)[:, None] & (xyz.abs() < LARGEST).all(-1)
    xyz = torch.where(valid.unsqueeze(-1), xyz, torch.zeros_like(xyz))
    unit = None if cameras is None else cameras.unit
    return replace(
        result,
        recorded_cameras=cameras,
        keypoints3d=Keypoints3d(xyz.detach(), valid.to(xyz.dtype), names, unit),
        model=FittedModel.of(body.data),
    )
