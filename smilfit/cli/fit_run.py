"""What `fit` does: sessions of a dataset file become parameters, videos and a report."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.body_models import SMIL, load_body_model
from smilfit.cli.fit_overlays import keypoints_of, report_pictures, write_overlay
from smilfit.cli.shipped_configs import find_config
from smilfit.cli.step_bar import StepBar
from smilfit.datasets import open_dataset
from smilfit.evaluation import FitBenchmark, fit_benchmark
from smilfit.registrants import SMPLify
from smilfit.registry import build_body_model, build_registrant, did_you_mean, read_config
from smilfit.structures import FitResult, Keypoints2d, Keypoints3d
from smilfit.version import __version__
from smilfit.visualization import Report, add_fit_sections

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class FitOptions:
    """How to fit: which sessions (all if none is named), where, and what to draw."""

    sessions: tuple[str, ...] = ()
    device: str = 'cpu'
    window_px: int = 400
    video: bool = True
    overwrite: bool = False
    progress: bool = False


@dataclass(frozen=True)
class FitRun:
    """What came out: results and numbers by session, and the report's path."""

    results: dict[str, FitResult]
    benchmarks: dict[str, FitBenchmark]
    report: Path


def fit_dataset(
    config: Path,
    data: Path,
    out: Path,
    body_model: Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    options: FitOptions | None = None,
) -> FitRun:
    """Fit every session of a dataset file.

    Args:
        config: a registrant's config file.
        data: the dataset file.
        out: folder for the results.
        body_model: a body model file, instead of the config's or the dataset's.
        cfg_options: overrides of the config by dotted key.
        options: sessions, device, drawing.

    Raises:
        ValueError: a dataset of another body model, or one that lacks what a handler needs.
        KeyError: an unknown session, config key or stage key.
    """
    options = options or FitOptions()
    cfg = _load_config(config, cfg_options or {})
    dataset = open_dataset(data)
    for name in options.sessions:
        if name not in dataset.session_names:
            raise KeyError(f'{data}: no session {name!r}. {did_you_mean(name, dataset.session_names)}')
    body = _body(cfg.pop('body_model', None), body_model, dataset).to(options.device)
    dataset.check_body_model(body.data)
    sessions = options.sessions or dataset.session_names
    bar = StepBar(options.progress)
    registrant = build_registrant({**cfg, 'body_model': body, 'hooks': [*cfg.get('hooks', ()), bar]})
    results, benchmarks = {}, {}
    page = Report('Fit', f'{len(sessions)} session(s) of {data.name}, body model {body.data.name}.')
    for session in sessions:
        result, fresh = _fit_session(registrant, dataset, session, out, cfg, options, bar)
        seen = dataset.keypoints2d(session)
        results[session], benchmarks[session] = result, _benchmark(body, result, dataset, session, seen)
        video = out / session / 'overlay.mp4'
        if options.video and (fresh or not video.is_file()):
            write_overlay(body, result, dataset, session, seen, video, options.window_px, options.progress)
        _write_numbers(benchmarks[session], out / session / 'benchmark.json')
        pictures = report_pictures(body, result, dataset, session, seen, options.window_px)
        add_fit_sections(
            page.add_section(f'Session {session}'),
            benchmarks[session],
            result.history,
            result.report,
            pictures,
            video if video.is_file() else None,
        )
    return FitRun(results, benchmarks, page.save(out / 'report.html'))


def _load_config(path: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    cfg = read_config(find_config(path))
    cfg.merge_from_dict(dict(options), allow_list_keys=True)
    # Imported when the file was read; not arguments of the registrant.
    return {k: v for k, v in cfg.to_dict().items() if k not in ('custom_imports', 'default_scope')}


def _body(from_config: Any, from_command: Path | None, dataset: Any) -> SMIL:
    """Choose the body model: the command's, else the config's, else the one the dataset names."""
    if from_command is not None:
        return load_body_model(from_command)
    if from_config is not None:
        return build_body_model(from_config)
    if not Path(dataset.body_model_file).is_file():
        raise FileNotFoundError(
            f'{dataset.path}: its body model {dataset.body_model_file} is not there any more. Give --body-model FILE.'
        )
    return load_body_model(dataset.body_model_file)


def _fit_session(
    registrant: SMPLify,
    dataset: Any,
    session: str,
    out: Path,
    cfg: dict[str, Any],
    options: FitOptions,
    bar: StepBar,
) -> tuple[FitResult, bool]:
    """Fit one session, or read what an equal fit wrote before."""
    path = out / session / 'fit.npz'
    fingerprint = _fingerprint(registrant, dataset, session, cfg)
    if path.is_file() and path.with_suffix('.json').is_file() and not options.overwrite:
        before = FitResult.load(path, body=registrant.body)
        if before.report.get('fingerprint') == fingerprint:
            logger.info('%s: already fitted, %s', session, path)
            return before, False
    weighted = {key for stage in registrant.stages for key, weight in stage.weights.items() if weight}
    inputs = [
        handler.input_type.from_dataset(dataset, session, handler.handler_key)
        for key, handler in registrant.handlers.items()
        if key in weighted and handler.requires_input()
    ]
    logger.info('%s: fitting %d frames', session, inputs[0].batch_size if inputs else 0)
    with bar.running(session, registrant):
        result = registrant(inputs)
    finite = torch.stack(
        [v.reshape(len(v), -1).isfinite().all(1) for v in result.params.as_dict().values()]
    ).all(0)
    notes = {'fingerprint': fingerprint, 'smilfit': __version__, 'frames_not_finite': int((~finite).sum())}
    result = replace(result, report=result.report | notes)
    result.save(
        path, frames=dataset.frame_indices(session), joint_names=np.array(registrant.body.joint_names)
    )
    return result, True


def _fingerprint(registrant: SMPLify, dataset: Any, session: str, cfg: dict[str, Any]) -> str:
    said = json.dumps(
        [cfg, dataset.fingerprint, session, registrant.body.data.content_hash(), __version__],
        sort_keys=True,
        default=str,
    )
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _benchmark(body: SMIL, result: FitResult, dataset: Any, session: str, seen: Keypoints2d) -> FitBenchmark:
    truth, true_vertices, vertices = None, None, None
    true_params = dataset.true_params(session)
    like = body.v_template
    if true_params is not None:
        true_params = true_params.to(like)
        xyz = keypoints_of(body, true_params, seen.names)
        truth = Keypoints3d(xyz, torch.ones_like(xyz[..., 0]), seen.names, dataset.unit)
        with torch.no_grad():
            true_vertices = body(true_params, ('vertices',)).vertices.cpu()
        vertices = result.vertices().cpu()
    fitted = keypoints_of(body, result.params, seen.names)
    return fit_benchmark(seen, fitted, dataset.keypoints3d(session), truth, vertices, true_vertices)


def _write_numbers(benchmark: FitBenchmark, path: Path) -> None:
    path.write_text(json.dumps(benchmark.metrics(), indent=1), encoding='utf-8')
