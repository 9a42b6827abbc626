"""What `fit` does: sessions of a dataset file become parameters, videos and a report."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from smilfit.apis.fit_options import FitOptions
from smilfit.apis.fitting.fit_overlays import draw_free_views
from smilfit.apis.fitting.fit_session import FIT, SessionFits
from smilfit.apis.fitting.mask_choice import with_masks
from smilfit.apis.fitting.point_outputs import TURNTABLE
from smilfit.apis.fitting.session_landmarks import body_with_landmarks
from smilfit.apis.fitting.session_outputs import OVERLAY
from smilfit.apis.shipped_configs import find_config
from smilfit.body_models import SMIL, find_model, load_body_model, reference_of, reference_to
from smilfit.datasets import open_dataset
from smilfit.drawing import Report, add_fit_sections, add_image_sections, add_point_sections, add_verdict
from smilfit.evaluation import FitBenchmark, ImageFigures, PointBenchmark, read_figures
from smilfit.evaluation.point_fit import extent
from smilfit.evaluation.verdict import NOT_BELIEVABLE, Verdict
from smilfit.files import MadeOf, OutputFolder, OutputLock
from smilfit.handlers import SilhouetteDistanceHandler, SilhouetteHandler
from smilfit.registrants import SMPLify
from smilfit.registry import (
    ConfigError,
    UnknownNameError,
    build_body_model,
    build_registrant,
    did_you_mean,
    read_config,
)
from smilfit.registry.config_options import merge_options
from smilfit.solvers import Processes
from smilfit.structures import FitResult, ModelReference
from smilfit.version import __version__

# Ends a length that is a share of the animal's size.
SHARE = 'L'


def with_body_lengths(cfg: Mapping[str, Any], dataset: Any, sessions: Sequence[str]) -> dict[str, Any]:
    """Turn `sigma='0.05L'` of keypoint losses into the points' unit, and with it the weights of their handlers.

    Where sigma is a share of the animal's size, the handler's weights are of squared shares, too. The size is the
    sessions' median of the 90th percentile of the box diagonal of their 3D points. A config without such lengths
    stays as it is.

    Raises:
        ConfigError: a length that is none, or no session with 3D points.
    """
    if not _relative(cfg):
        return dict(cfg)
    points = [dataset.keypoints3d(session) for session in sessions]
    sizes = [float(extent(p)) for p in points if p is not None]
    if not sizes:
        raise ConfigError(
            f'{dataset.path}: lengths in shares of the animal ({SHARE}) need 3D points; no session has any. Fit 2D '
            'keypoints with configs/fit/multiview_keypoints_lm.py.'
        )
    return of_size(cfg, float(np.median(sizes)))


def _relative(cfg: Mapping[str, Any]) -> dict[str, str]:
    """Return the lengths that are text, by handler key."""
    return {
        handler.get('handler_key', ''): handler['mse_loss']['sigma']
        for handler in cfg.get('handlers', ())
        if isinstance(handler, Mapping)
        and isinstance(handler.get('mse_loss'), Mapping)
        and isinstance(handler['mse_loss'].get('sigma'), str)
    }


def of_size(cfg: Mapping[str, Any], size: float) -> dict[str, Any]:
    """Turn lengths that are shares of an animal into those of one of a size, world unit."""
    relative = _relative(cfg)
    handlers = [
        {**h, 'mse_loss': {**h['mse_loss'], 'sigma': size * _share(h['mse_loss']['sigma'])}}
        if isinstance(h, Mapping) and h.get('handler_key', '') in relative
        else h
        for h in cfg['handlers']
    ]
    weights = {f'{key}_weight' for key in relative}
    stages = [{k: v / size**2 if k in weights else v for k, v in stage.items()} for stage in cfg['stages']]
    return {**cfg, 'handlers': handlers, 'stages': stages}


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix(SHARE))
    except ValueError:
        share = 0.0
    if not text.endswith(SHARE) or not 0 < share < 100:
        raise ConfigError(
            f"sigma must be a length in the points' unit, or a share of the animal such as '0.05{SHARE}'; got "
            f'{text!r}.'
        )
    return share


REPORT = 'report.html'


@dataclass(frozen=True)
class FitRun:
    """What came out: results and numbers by session, and the report's path.

    `benchmarks` are of recordings by calibrated cameras, `images` of single images, `points` of points in space.
    `verdicts` are empty where nothing was judged. `fps` are frames a second of what was recorded over time, None
    where nobody states them.
    """

    results: dict[str, FitResult]
    benchmarks: dict[str, FitBenchmark]
    images: dict[str, list[ImageFigures]]
    report: Path
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    points: dict[str, PointBenchmark] = field(default_factory=dict)
    fps: dict[str, float | None] = field(default_factory=dict)

    @property
    def n_images_not_fitted(self) -> int:
        """How many images have no fit."""
        return sum(int((~self.results[session].fitted).sum()) for session in self.images)

    @property
    def not_believable(self) -> list[str]:
        """Name the sessions that are not believable, or hold an image that is not, or a frame without a fit."""
        matches = []
        for session, result in self.results.items():
            verdict = self.verdicts.get(session)
            judged = verdict is not None and (
                verdict.word == NOT_BELIEVABLE or (session in self.images and verdict.count(NOT_BELIEVABLE))
            )
            if judged or 'frames_failed' in result.report:
                matches.append(session)
        return matches


def fit_dataset(
    config: str | Path | Mapping[str, Any],
    data: str | Path,
    out: str | Path,
    options: FitOptions,
    processes: Processes,
) -> FitRun | None:
    """Fit every session of a dataset file.

    Several processes take whole sessions each. Where there are fewer sessions than processes, these spread the
    frames of a session over themselves if its stages allow.

    Args:
        config: a registrant's config: a file, a shipped one's name, or what stands in one.
        data: the dataset file.
        out: folder for the results.
        options: sessions, body model, device, drawing.
        processes: those that share the work.

    Returns:
        All results in the first process, which writes the report; None in the others.

    Raises:
        ValueError: a dataset of another body model, or one that lacks what a handler needs.
        KeyError: an unknown session, config key or stage key.
    """
    cfg = with_masks(load_fit_config(config, options.cfg_options or {}), options.masks)
    dataset = open_dataset(data)
    for name in options.sessions:
        if name not in dataset.session_names:
            raise KeyError(f'{data}: no session {name!r}. {did_you_mean(name, dataset.session_names)}')
    body, reference = _body(cfg.pop('body_model', None), options.body_model, dataset)
    if options.body_model is None:
        dataset.check_body_model(body.data)
    else:
        # A reader of somebody else's need not know of other bodies.
        getattr(dataset, 'check_other_body_model', dataset.check_body_model)(body.data)
    body = body_with_landmarks(body, dataset, options.landmarks).to(options.device)
    sessions = options.sessions or dataset.session_names
    cfg = with_body_lengths(cfg, dataset, sessions)
    # The first process holds the folder for all.
    of_images = any(map(dataset.has_own_cameras, sessions))
    with OutputLock.of_folder(out) if processes.rank == 0 else nullcontext():
        with _naming(config):
            fits = SessionFits(cfg, body, dataset, Path(out), options, reference)
        if options.video:
            for session in sessions:
                if dataset.temporal(session) or not dataset.has_own_cameras(session):
                    options.video_choice.rows(session, dataset.frame_indices(session))
        check_faces(fits.registrant, of_images or options.video or options.meshes in ('obj', 'ply'))
        return _fit_sessions(fits, sessions, processes)


def check_images_fit(
    config: str | Path | Mapping[str, Any],
    body_model: str | Path,
    cfg_options: Mapping[str, Any] | None = None,
) -> None:
    """Build what a fit of images is made of, so that a fault of config or model shows before other work.

    Args:
        config: as of `fit_dataset`.
        body_model: the body model's file.
        cfg_options: overrides of the config by dotted key.

    Raises:
        ValueError, KeyError: the config cannot be built, or the body model has no faces.
    """
    cfg = load_fit_config(config, cfg_options or {}) | {'body_model': load_body_model(body_model)}
    with _naming(config):
        registrant = build_registrant(cfg)
    check_faces(registrant, drawn=True)


def check_faces(registrant: SMPLify, drawn: bool) -> None:
    """Check that the body has faces where a fit needs its surface.

    Args:
        registrant: of the fit.
        drawn: whether bodies are drawn or written as meshes.

    Raises:
        ValueError: it has none.
    """
    body = registrant.body
    of_masks = (SilhouetteHandler, SilhouetteDistanceHandler)
    masks = [key for key, handler in registrant.handlers.items() if isinstance(handler, of_masks)]
    if len(body.faces) or not (drawn or masks):
        return
    what = f'masks ({masks[0]})' if masks else 'overlays and meshes'
    raise ValueError(
        f'{body.data.name}: the body model must have faces for {what}; it has none. Give one with faces, or fit a '
        'recording to keypoints alone by --no-video --meshes none.'
    )


@contextmanager
def _naming(config: str | Path | Mapping[str, Any]) -> Iterator[None]:
    """Name the config's file in what cannot be built of it."""
    try:
        yield
    except (ValueError, TypeError, UnknownNameError) as error:
        if isinstance(config, Mapping) or str(error).startswith(str(config)):
            raise
        kind = UnknownNameError if isinstance(error, UnknownNameError) else ConfigError
        raise kind(f'{config}: {error}') from error


def _fit_sessions(fits: SessionFits, sessions: Sequence[str], processes: Processes) -> FitRun | None:
    together = fits.together(sessions, processes)
    results = {session: fits.fit(session, processes) for session in together}
    apart = [session for session in sessions if session not in together]
    results |= {
        session: fits.fit(session, Processes()) for session in apart[processes.rank :: processes.count]
    }
    # None reads what another is still writing.
    processes.sum(torch.zeros(()))
    return _report(fits, sessions, results) if processes.rank == 0 else None


def _report(fits: SessionFits, sessions: Sequence[str], mine: Mapping[str, FitResult]) -> FitRun:
    """Write the page of all sessions; what other processes fitted is read from their files."""
    results, images, judged = {}, {}, {}
    benchmarks: dict[str, FitBenchmark] = {}
    points: dict[str, PointBenchmark] = {}
    folders = {session: fits.outputs(session) for session in sessions}
    for session, outputs in folders.items():
        results[session] = mine.get(session) or FitResult.load(outputs.folder / FIT, body=fits.body)
        result = fits.verdict(session)
        if result is not None:
            judged[session] = result
        if fits.dataset.has_own_cameras(session):
            images[session] = read_figures(outputs.folder)
        else:
            for result in fits.measured(session, results[session]):
                if isinstance(result, PointBenchmark):
                    points[session] = result
                else:
                    benchmarks[session] = result
    page = OutputFolder(fits.out)
    parts = ('fit', 'verdict', 'benchmark', 'pictures', 'overlay')
    made_of = MadeOf(
        {session: {part: outputs.checksum(part) for part in parts} for session, outputs in folders.items()},
        {
            'window_px': fits.options.window_px,
            'verdict': fits.options.verdict,
            'dataset': Path(fits.dataset.path).name,
            'smilfit': __version__,
        },
    )
    if not page.holds('report', made_of):
        drawn = _page(fits, results, benchmarks, points, images, judged)
        with page.make('report', made_of) as staging:
            drawn.save(staging / REPORT)
    verdicts = {session: verdict for session, (verdict, _) in judged.items()}
    fps = {session: fits.dataset.fps(session) for session in sessions if fits.dataset.temporal(session)}
    return FitRun(results, benchmarks, images, fits.out / REPORT, verdicts, points, fps)


def _page(
    fits: SessionFits,
    results: Mapping[str, FitResult],
    benchmarks: Mapping[str, FitBenchmark],
    points: Mapping[str, PointBenchmark],
    images: Mapping[str, list[ImageFigures]],
    judged: Mapping[str, tuple[Verdict, list[dict[str, Any]]]],
) -> Report:
    of = f'{Path(fits.dataset.path).name}, body model {fits.body.data.name}'
    page = Report('Fit', f'{len(results)} session(s) of {of}.', fits.out)
    for session, result in results.items():
        outputs = fits.outputs(session)
        drawn_as = TURNTABLE if session in points else OVERLAY
        video = outputs.folder / drawn_as if drawn_as in outputs.files('overlay') else None
        section = page.add_section(f'Session {session}')
        verdict, cameras = judged.get(session, (None, []))
        words = verdict.frame_words if verdict else ()
        labels = _labels(fits, session)
        add_verdict(section, verdict, cameras, labels)
        section.add_images(*draw_free_views(fits.body, result, labels, words))
        if session in images:
            overlays = outputs.folder / 'overlays'
            add_image_sections(section, images[session], overlays, result.history, result.report, video)
        else:
            drawn = fits.images(session, result, words)
            history, notes = result.history, result.report
            if session in points:
                frames = fits.dataset.frame_indices(session).tolist()
                add_point_sections(section, points[session], frames, history, notes, drawn, video)
                history, notes, drawn, video = (), {}, {}, None
            if session in benchmarks:
                several = session if len(results) > 1 else ''
                add_fit_sections(section, benchmarks[session], history, notes, drawn, video, several)
    return page


def _labels(fits: SessionFits, session: str) -> list[str]:
    if fits.dataset.has_own_cameras(session):
        return list(fits.dataset.labels(session))
    return [f'frame {frame}' for frame in fits.dataset.frame_indices(session)]


def load_fit_config(config: str | Path | Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Read a registrant's config, with overrides by dotted key.

    Raises:
        ConfigError: one without a type.
    """
    if isinstance(config, Mapping):
        where, cfg = 'fit', Config(copy.deepcopy(dict(config)))
    else:
        where, cfg = config, read_config(find_config(config))
    merge_options(cfg, options)
    if 'type' not in cfg:
        raise ConfigError(
            f'{where}: the config of a fit must have a type, such as "SMPLify"; got {sorted(cfg)[:20]}. Is it one '
            'of configs/fit/?'
        )
    # Imported when the file was read; not arguments of the registrant.
    return {k: v for k, v in cfg.to_dict().items() if k not in ('custom_imports', 'default_scope')}


def _body(from_config: Any, from_command: str | Path | None, dataset: Any) -> tuple[SMIL, ModelReference]:
    """Choose the body model: the command's, else the config's, else the one the dataset names."""
    if from_command is not None:
        body = load_body_model(from_command)
        return body, reference_to(body.data, from_command)
    if from_config is not None:
        body = build_body_model(from_config)
        path = from_config.get('model_path') if isinstance(from_config, Mapping) else None
        return body, reference_to(body.data, path or '')
    result = find_model(reference_of(dataset), dataset.path, folder=Path(dataset.path).parent)
    return SMIL(result.body), result.reference
