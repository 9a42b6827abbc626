"""What `fit` and `fit_images` do: sessions of a dataset file become parameters, videos and a report."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.fit_options import FitImagesOptions, FitOptions
from smilfit.apis.fitting.fit_config import ConfigSource, load_fit_config, with_body_lengths, with_masks
from smilfit.apis.fitting.fit_session import SessionFits
from smilfit.apis.fitting.image_outputs import ImageDrawing
from smilfit.apis.fitting.session_landmarks import body_with_landmarks
from smilfit.apis.fitting.session_outputs import SessionOutputs
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.preprocessing.data_source import DataSource, as_images
from smilfit.apis.preprocessing.make_dataset import PreprocessRun, preprocess
from smilfit.apis.progress import ignore
from smilfit.apis.shipped_configs import FIT_IMAGES_CONFIG
from smilfit.body_models import SMIL, BodyModelData, LocatedModel, find_model, load_body_model, reference_to
from smilfit.datasets import DatasetFile, open_dataset
from smilfit.drawing.report import Report
from smilfit.evaluation import PROTOCOLS, FitBenchmark, ImageAnswer, ImageFigures, PointBenchmark, evaluate
from smilfit.evaluation.verdict import NOT_BELIEVABLE, Verdict
from smilfit.files import MadeOf, OutputFolder, OutputLock, write_text, writing
from smilfit.handlers import SilhouetteDistanceHandler, SilhouetteHandler
from smilfit.registrants import SMPLify
from smilfit.registry import (
    ConfigError,
    UnknownNameError,
    build_body_model,
    build_registrant,
    did_you_mean,
    reject_unknown,
)
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.processes import process_group
from smilfit.structures import FitResult, ModelReference
from smilfit.version import __version__

REPORT = 'report.html'
DATASET = 'pictures.h5'


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
    config: ConfigSource,
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
        dataset.check_other_body_model(body.data)
    body = body_with_landmarks(body, dataset, options.landmarks).to(options.device)
    sessions = options.sessions or dataset.session_names
    cfg = with_body_lengths(cfg, dataset, sessions)
    kinds = {dataset.session(session).kind for session in sessions}
    # The first process holds the folder for all.
    with OutputLock.of_folder(out) if processes.rank == 0 else nullcontext():
        with _naming(config):
            fits = SessionFits(cfg, body, dataset, Path(out), options, reference)
        if options.video:
            for session in sessions:
                if dataset.session(session).temporal:
                    options.video_choice.rows(session, dataset.frame_indices(session))
        check_faces(fits.registrant, 'images' in kinds or options.video or options.meshes in ('obj', 'ply'))
        return _fit_sessions(fits, sessions, processes)


def check_images_fit(
    config: ConfigSource,
    body_model: str | Path,
    cfg_options: Mapping[str, object] | None = None,
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
def _naming(config: ConfigSource) -> Iterator[None]:
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
    for session in together:
        fits.fit(session, processes)
    alone = [session for session in sessions if session not in together]
    for session in alone[processes.rank :: processes.count]:
        fits.fit(session, Processes())
    # None reads what another is still writing.
    processes.sum(torch.zeros(()))
    # What other processes fitted is read from their files.
    return _report([fits.outputs(session) for session in sessions], fits) if processes.rank == 0 else None


def _report(outputs: Sequence[SessionOutputs], fits: SessionFits) -> FitRun:
    """Write the page of all sessions."""
    parts = ('fit', 'verdict', 'benchmark', 'pictures', 'overlay')
    made_of = MadeOf(
        {one.session: {part: one.folder.checksum(part) for part in parts} for one in outputs},
        {
            'window_px': fits.options.window_px,
            'verdict': fits.options.verdict,
            'dataset': fits.dataset.path.name,
            'smilfit': __version__,
        },
    )
    folder = OutputFolder(fits.out)
    if not folder.holds('report', made_of):
        of = f'{fits.dataset.path.name}, body model {fits.body.data.name}'
        page = Report('Fit', f'{len(outputs)} session(s) of {of}.', fits.out)
        for one in outputs:
            one.add_to_page(page, len(outputs) > 1)
        with folder.make('report', made_of) as staging:
            page.save(staging / REPORT)
    verdicts = {one.session: one.verdict() for one in outputs}
    return FitRun(
        {one.session: one.result for one in outputs},
        {one.session: one.benchmark for one in outputs if one.benchmark is not None},
        {one.session: one.figures for one in outputs if one.figures is not None},
        fits.out / REPORT,
        {session: judged[0] for session, judged in verdicts.items() if judged is not None},
        {one.session: one.points for one in outputs if one.points is not None},
        {one.session: fits.dataset.fps(one.session) for one in outputs if one.data.temporal},
    )


def _body(
    from_config: Any, from_command: str | Path | None, dataset: DatasetFile
) -> tuple[SMIL, ModelReference]:
    """Choose the body model: the command's, else the config's, else the one the dataset names."""
    if from_command is not None:
        body = load_body_model(from_command)
        return body, reference_to(body.data, from_command)
    if from_config is not None:
        body = build_body_model(from_config)
        path = from_config.get('model_path') if isinstance(from_config, Mapping) else None
        return body, reference_to(body.data, path or '')
    result: LocatedModel[BodyModelData] = find_model(
        dataset.body_model, dataset.path, folder=dataset.path.parent
    )
    return SMIL(result.body), result.reference


@with_options(FitOptions)
def fit(config: ConfigSource, data: str | Path, out: str | Path, options: FitOptions) -> FitRun | None:
    """Fit sessions of a dataset file and write parameters, numbers, videos and one page of all.

    A session that is fitted the same way already is not fitted again; a run that was stopped goes on after its last
    whole session or window.

    Args:
        config: a registrant's config: a file, a shipped one's name such as `fit/multiview_keypoints.py`, or its dict.
        data: the dataset file.
        out: folder for the results.

    Returns:
        All results in the first process; None in the others.

    Raises:
        ConfigError: the config does not run.
        ValueError: a dataset of another body model, or one that lacks what a handler needs.
        KeyError: an unknown session, config key or stage key.
    """
    check_output_folder(out, '--out')
    if options.masks is not None and Path(options.masks).is_dir():
        check_not_an_input(out, (options.masks,), '--out')
    # Sums are small and taken on the CPU, on whatever device the bodies are: the CPU's way of talking serves.
    with torch_threads(options.threads), process_group(options.launcher, 'cpu', PROCESS_TIMEOUT):
        alone = options.launcher == 'none'
        processes = Processes() if alone else DistributedProcesses()
        own = replace(
            options,
            device=chosen_device(options.device, alone),
            progress=options.progress if processes.rank == 0 else ignore,
        )
        return fit_dataset(config, data, out, own, processes)


@dataclass(frozen=True)
class FitImagesRun:
    """What came out of both steps; `protocols` are figures by published protocol."""

    dataset: PreprocessRun
    fit: FitRun
    protocols: dict[str, dict[str, float]] = field(default_factory=dict)


@with_options(FitImagesOptions)
def fit_images(
    source: DataSource,
    out: str | Path,
    body_model: str | Path,
    config: ConfigSource = FIT_IMAGES_CONFIG,
    options: Mapping[str, object] | None = None,
    *,
    fitting: FitImagesOptions,
    restart: bool = False,
    preprocessed: Callable[[PreprocessRun], object] | None = None,
    protocols: Sequence[str] = (),
) -> FitImagesRun:
    """Make `out`/pictures.h5 as `preprocess` does and fit it as `fit` does; what was stopped goes on.

    Args:
        source: the annotated images; of a calibrated project each camera is read alone. A folder of SLEAP sessions is
            read, too.
        out: folder for the results.
        body_model: the body model's file, or the name of a shipped one.
        config: as of `fit`.
        options: as of `preprocess`.
        restart: throw a stopped preprocessing's partial file away.
        preprocessed: called when the dataset file is there, before the fit.
        protocols: published ones by which fitted images are scored, into `protocols.json`.

    Raises:
        NotADirectoryError: `out` is a file.
        ValueError, KeyError: as of `preprocess` and `fit`.
    """
    reject_unknown('--protocol', 'protocol', protocols, list(PROTOCOLS))
    folder = check_images_folder(out)
    check_not_an_input(folder, (source.path, source.images), 'OUT', inside=True)
    check_images_fit(config, body_model, fitting.cfg_options)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    made = preprocess(
        as_images(source),
        folder / DATASET,
        body_model,
        options,
        restart=restart,
        overwrite=fitting.overwrite,
        progress=fitting.progress,
    )
    if preprocessed is not None:
        preprocessed(made)
    chosen = {f.name: getattr(fitting, f.name) for f in fields(fitting)}
    done = fit(config, made.path, folder, body_model=body_model, **chosen)
    # One process has all results.
    assert done is not None
    return FitImagesRun(made, done, _scored(made.path, done, protocols, folder))


def _scored(path: Path, done: FitRun, protocols: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    """Score the fitted images by published protocols, and write the figures."""
    if not protocols:
        return {}
    answers: list[ImageAnswer] = []
    names: tuple[str, ...] = ()
    dataset = open_dataset(path)
    for session in done.images:
        result = done.results[session]
        if not isinstance(result.body, SMIL):
            continue
        drawing = ImageDrawing(result.body, dataset, session, result)
        names = drawing.observed.names
        answers += drawing.answers()
    figures = {name: evaluate(name, answers, names) for name in protocols}
    text = json.dumps(figures, indent=1).replace('NaN', 'null')
    write_text(folder / 'protocols.json', text)
    return figures


def check_images_folder(out: str | Path) -> Path:
    """Check that results can be written into a folder.

    Raises:
        OSError: it is a file, or cannot be made.
    """
    folder = Path(out)
    if folder.suffix == '.h5' or folder.is_file():
        raise NotADirectoryError(f'{folder}: OUT must be a folder; got a file. Name a folder.')
    return check_output_folder(folder, 'OUT')
