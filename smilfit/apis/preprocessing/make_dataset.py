"""Make a dataset file from recorded sessions, annotated images or dataset files of SMILify."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.preprocessing.data_source import POINTS3D, SMILIFY, DataSource, options_from
from smilfit.apis.preprocessing.session_source import (
    find_places,
    read_images,
    read_point_sessions,
    read_sessions,
)
from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.body_models import BodyModelData, is_shipped, load_body_model_data
from smilfit.datasets import PreprocessOptions, SessionPlan, shared_keypoint_names
from smilfit.datasets import preprocess as write_dataset
from smilfit.datasets.preprocess import plan_sessions
from smilfit.datasets.session_plan import AnySession, Counts
from smilfit.io import read_shape_betas
from smilfit.io.keypoint_maps import keypoint_map_file
from smilfit.io.landmark_rows import body_with_clicked_joints, body_with_lookup
from smilfit.registry.wings import wing_module
from smilfit.structures import SkippedAnnotation

# Modules that read formats which a wing knows.
_FORMATS_OF_WINGS = {SMILIFY: 'smilfit.smilify.dataset_files'}


@dataclass(frozen=True)
class PreprocessRun:
    """What came out: the dataset file, and the report of what was kept and left out, with reasons."""

    path: Path
    report: Counts

    @property
    def left_out(self) -> list[dict[str, str]]:
        """Entries that are not in the file, each with `where` and `reason`."""
        return self.report.get('left_out', [])


@dataclass(frozen=True)
class PreprocessPlan:
    """What would be done: a plan a session, and the entries that would be left out, with `where` and `reason`."""

    plans: list[SessionPlan]
    body: BodyModelData
    left_out: list[dict[str, str]]


@dataclass(frozen=True)
class _Inputs:
    """All that was read before the first image."""

    sessions: Sequence[AnySession]
    body: BodyModelData
    options: PreprocessOptions
    left_out: tuple[SkippedAnnotation, ...] = ()
    shape_betas: Mapping[str, np.ndarray] = field(default_factory=dict)


def preprocess(
    source: DataSource,
    out: str | Path,
    body_model: str | Path,
    options: Mapping[str, object] | None = None,
    *,
    restart: bool = False,
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> PreprocessRun:
    """Make a dataset file; a run that was stopped goes on where it was.

    Args:
        source: the recordings or the annotated images.
        out: the dataset file to make.
        body_model: file of the body model whose joints and keypoints the annotations' names are, or the name of a
            shipped one.
        options: fields of `PreprocessOptions` by name; the rest as the kind of source needs.
        restart: throw a stopped run's partial file away.
        overwrite: replace a file of other inputs or options.
        progress: called with a `Progress` after every sample.

    Raises:
        ValueError: inputs that contradict themselves or each other.
        KeyError: an unknown option, camera, category or keypoint map.
        FileExistsError: `out` exists and was made of other inputs.
    """
    out = Path(out)
    result = _read(source, out, body_model, options)
    report = write_dataset(
        result.sessions,
        out,
        result.body,
        result.options,
        body_model_file=portable_model(body_model, out),
        shape_betas=result.shape_betas,
        progress=None if progress is None else _reports(progress),
        restart=restart,
        overwrite=overwrite,
        left_out=result.left_out,
    )
    return PreprocessRun(out, report)


def plan_preprocess(
    source: DataSource, out: str | Path, body_model: str | Path, options: Mapping[str, object] | None = None
) -> PreprocessPlan:
    """Return what `preprocess` would do of the same arguments; nothing is written."""
    result = _read(source, Path(out), body_model, options)
    names = shared_keypoint_names(result.sessions, result.body)
    plans, unusable = plan_sessions(result.sessions, names, result.options)
    left_out = [{'where': entry.where, 'reason': entry.reason} for entry in (*result.left_out, *unusable)]
    return PreprocessPlan(plans, result.body, left_out)


def _read(
    source: DataSource, out: Path, body_model: str | Path, options: Mapping[str, object] | None
) -> _Inputs:
    """Read all inputs but images, after a look at where the output goes."""
    check_output_file(out, 'OUT')
    check_not_an_input(out, (body_model, source.keypoint_map, source.shape_betas), 'OUT')
    check_not_an_input(out, [path for path in source.paths if path.is_file()], 'OUT')
    if source.format in _FORMATS_OF_WINGS:
        wing = wing_module(_FORMATS_OF_WINGS[source.format])
        if wing is None:
            raise ValueError(
                f'preprocess: format {source.format!r} must be installed; '
                f'{_FORMATS_OF_WINGS[source.format]} was left out. Install smilfit whole.'
            )
        body = _body(body_model, source)
        opened, chosen, betas = wing.read_files(source, body, options)
        betas |= read_shape_betas(source.shape_betas) if source.shape_betas else {}
        if not source.keypoint_map:
            names = dict.fromkeys(name for session in opened for name in wing.clicked_joints(session))
            body = body_with_clicked_joints(body, names, str(source.path))
        return _Inputs(opened, body, chosen, shape_betas=betas)
    if source.format == POINTS3D:
        chosen = options_from(options)
        body = _body(body_model, source)
        return _Inputs(read_point_sessions(source, body), body, chosen)
    places = find_places(source)
    if places:
        chosen = options_from(options)
        body = _body(body_model, source)
        betas = read_shape_betas(source.shape_betas) if source.shape_betas else {}
        opened, unusable = read_sessions(places, source, body, chosen, out)
        return _Inputs(opened, body, chosen, tuple(unusable), shape_betas=betas)
    chosen = options_from({'crop_mode': 'bbox_crop', **(options or {}), 'min_views': 1})
    body = _body(body_model, source, joint_sd='0')
    sessions, left_out = read_images(source, body)
    return _Inputs(sessions, body, chosen, left_out)


def _body(body_model: str | Path, source: DataSource, joint_sd: str | None = None) -> BodyModelData:
    """Load the model, with the landmarks that the lookup describes.

    Only many frames of one animal show how far from a joint its label is: of single images `joint_sd` is '0'.
    """
    body = load_body_model_data(body_model)
    if not source.keypoint_map:
        return body
    return body_with_lookup(body, keypoint_map_file(source.keypoint_map), joint_sd)


def _reports(progress: ProgressCallback) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        progress(Progress('preprocessing', done, total))

    return report


def portable_model(body_model: str | Path, out: Path) -> Path:
    """Name a file relative to the dataset where it lies beside or below it, so that both can move together.

    A shipped model keeps its name: where the package lies is not the dataset's business.
    """
    if is_shipped(body_model):
        return Path(body_model)
    file, folder = Path(body_model).resolve(), out.parent.resolve()
    return file.relative_to(folder) if file.is_relative_to(folder) else file
