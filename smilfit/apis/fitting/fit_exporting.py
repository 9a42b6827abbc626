"""Write fits for other programs: find them, give them what their formats need, write each format once."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from smilfit.apis.fitting.fit_session import FIT
from smilfit.apis.infer_options import PREDICTIONS, REFINED, SMOOTHED
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.body_models import (
    SMIL,
    BodyModelData,
    LocatedModel,
    ModelNotFoundError,
    OtherModelError,
    find_model,
    is_shipped,
    load_body_model,
)
from smilfit.body_models.shipped_models import beside
from smilfit.datasets import open_dataset
from smilfit.drawing.skin_texture import read_skin_texture
from smilfit.files import (
    BadFileError,
    MadeOf,
    OutputFolder,
    OutputLock,
    folder_name,
    read_npz,
    reading,
    real_folder,
)
from smilfit.io.exports import ExportedFit, ExportOptions, exporter, formats
from smilfit.io.meshes.gltf_animation import SkinImage
from smilfit.io.recordings.sleap_session import find_video
from smilfit.registrants.swaps import labels_as_fitted
from smilfit.registry import reject_unknown
from smilfit.structures import FitOrigin, FitResult, Keypoints2d
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

ALL = 'all'
MARKER = 'exports.json'
_NAMES = (FIT, REFINED, SMOOTHED, PREDICTIONS)


@dataclass(frozen=True)
class FitExport:
    """What was written of one fit: files by format, and why a format was left out."""

    name: str
    folder: Path
    files: dict[str, list[Path]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def export_fit(
    fit: str | Path,
    to: Sequence[str],
    out: str | Path,
    *,
    body_model: str | Path | None = None,
    fps: float | None = None,
    options: ExportOptions | None = None,
    allow_other_model: bool = False,
    told: Callable[[FitExport], None] | None = None,
) -> list[FitExport]:
    """Write fits in formats of other programs. What is there already, and whole, is not made again.

    Args:
        fit: a fit's file (`fit.npz`, or `predictions.npz`, `refined.npz`, `smoothed.npz` of `infer`), its folder, or
            a folder of such folders, each of which gets a folder in `out`.
        to: formats, or 'all': those that can be written of the fit; the others are reported.
        out: folder for the files.
        body_model: a file, or a shipped model's name, where the one that the fit's dataset names is not there.
        fps: frames per second, instead of what the recording stated.
        options: how formats are written.
        allow_other_model: take a body model of other content than the fit's.
        told: called with each fit's export, when it is written.

    Raises:
        FileNotFoundError: no fit there.
        UnknownNameError: an unknown format, with the near ones.
        ValueError: a format that cannot be written of a fit, a body model that is not the fit's, or `out` in `fit`.
    """
    options = options or ExportOptions()
    reject_unknown('--to', 'format', [name for name in to if name != ALL], (*formats(), ALL))
    wanted = list(formats()) if ALL in to else list(dict.fromkeys(to))
    paths = find_fits(fit)
    check_output_folder(out, '--out')
    for path in (fit, *(result.parent for result in paths.values())):
        check_not_an_input(out, (path,), '--out')
    several = len(paths) > 1 or next(iter(paths.values())).parent != _folder_of(Path(fit))
    result = []
    with OutputLock.of_folder(out):
        for name, path in paths.items():
            folder = real_folder(out, folder_name(name)) if several else Path(out)
            shown = load_export(path, body_model, fps, allow_other_model)
            made_of = {
                'fit': hashlib.sha256(path.read_bytes()).hexdigest(),
                'verdict': hashlib.sha256(repr(shown.fit.verdict).encode()).hexdigest()[:16],
                'observed': shown.observed is not None,
                'skin': None if shown.skin is None else hashlib.sha256(shown.skin.data).hexdigest()[:16],
                'smilfit': __version__,
            }
            done = _write(shown, folder, wanted, options, made_of, skip=ALL in to)
            result.append(done)
            if told is not None:
                told(done)
    return result


def find_fits(path: str | Path) -> dict[str, Path]:
    """Find fits by name: of a file, of a folder that holds one, or of those folders in it.

    Of what inference left, the last is taken: smoothed, else refined, else as predicted.

    Raises:
        FileNotFoundError: none is there.
    """
    path = Path(path)
    if path.is_file():
        return {path.parent.resolve().name: path}
    if not path.is_dir():
        raise FileNotFoundError(f'{path}: must be a fit: a folder, or {FIT}; there is none.')
    if (own := _fit_in(path)) is not None:
        return {path.resolve().name: own}
    inner = {f.name: file for f in sorted(path.iterdir()) if f.is_dir() and (file := _fit_in(f)) is not None}
    if not inner:
        raise FileNotFoundError(
            f'{path}: must hold {FIT} or {PREDICTIONS}, or folders that do; none does. Make it by smilfit fit or '
            'smilfit infer.'
        )
    return inner


def _folder_of(path: Path) -> Path:
    return path.parent if path.is_file() else path


def _fit_in(folder: Path) -> Path | None:
    order = (FIT, SMOOTHED, REFINED, PREDICTIONS)
    return next((folder / name for name in order if (folder / name).is_file()), None)


def load_export(
    path: Path,
    body_model: str | Path | None = None,
    fps: float | None = None,
    allow_other_model: bool = False,
) -> ExportedFit:
    """Read a fit with what its formats need: the body model, annotated keypoints, names of videos.

    What is not there any more is left out, and reported where a format needs it.
    """
    arrays = read_npz(path, what='fitted parameters')
    plain = FitResult.load(path)
    body, no_body, model_files = _body(path, plain, body_model)
    fit = plain if body is None else FitResult.load(path, body, allow_other_model)
    if 'frames' not in arrays:
        raise BadFileError(
            f'{path}: must name its frames; it does not. Make it again by smilfit fit or infer.'
        )
    if arrays['frames'].dtype.kind not in 'iu':
        raise BadFileError(
            f'{path}: frames must be whole numbers; got {arrays["frames"].dtype}. The file is damaged: make it again.'
        )
    origin, valid, pixels = fit.origin, fit.fitted.cpu().numpy(), None
    if 'view_K' in arrays:
        # A network's result, which says what it predicted in every view.
        with reading(path, 'predictions'):
            valid = arrays['valid']
            score = np.where(valid[:, None, None], arrays['keypoints2d_confidence'], 0.0)
            labels = (score > 0) & (arrays['view_mask'][..., None] if score.ndim == 3 else True)
            pixels = np.where(labels[..., None], arrays['keypoints2d'], np.nan), np.where(labels, score, 0.0)
    observed = None if origin is None else _observed(origin, fit)
    if observed is not None and (fit.keypoints3d is None or observed.batch_size != len(valid)):
        observed = None
    return ExportedFit(
        name=fit.session or str(fit.report.get('recording', path.parent.resolve().name)),
        fit=fit,
        frames=np.asarray(arrays['frames'], np.int64),
        valid=valid,
        fps=fps or fit.fps,
        pixels=pixels,
        observed=observed,
        videos={} if origin is None else origin.videos or _videos(origin, fit),
        views=tuple(arrays['view_names'].tolist()) if 'view_names' in arrays else (),
        labels=() if origin is None else origin.labels,
        skin=None if body is None else _skin(model_files, body),
        no_body=no_body,
    )


def _body(path: Path, fit: FitResult, given: str | Path | None) -> tuple[SMIL | None, str, tuple[Path, ...]]:
    """Load the body model: the caller's, else the fit's own, if it is found.

    Returns:
        The body, why there is none, and where its file may lie.
    """
    if given is not None:
        return load_body_model(given), '', () if is_shipped(str(given)) else (Path(given),)
    reference = fit.reference
    try:
        result: LocatedModel[BodyModelData] = find_model(reference, path, folder=path.parent)
    except (ModelNotFoundError, OtherModelError) as error:
        logger.info('%s', error)
        return None, str(error), ()
    files = () if is_shipped(reference.given) else tuple(reference.places(path.parent))
    return SMIL(result.body), '', files if result.file is None else (result.file,)


def _skin(files: Sequence[Path], body: SMIL) -> SkinImage | None:
    """Read the image of the skin that lies beside a model which was imported from a rig; None where there is none."""
    beside_model = (beside(file, '.texture.npz') for file in files)
    path = next((file for file in beside_model if file.is_file()), None)
    if path is None:
        return None
    try:
        texture = read_skin_texture(path, body.data.n_vertices)
    except BadFileError as error:
        logger.warning('%s The animation has no image of the skin.', error)
        return None
    return SkinImage(texture.encoded, texture.uv)


def _observed(origin: FitOrigin, fit: FitResult) -> Keypoints2d | None:
    """Read the annotated keypoints as the fit took them, where the dataset file is there and still the same.

    Points in space may have neither cameras nor labels in images.
    """
    if origin.dataset is None or not Path(origin.dataset).is_file():
        return None
    dataset = open_dataset(origin.dataset)
    if dataset.fingerprint != origin.fingerprint or origin.session not in dataset.session_names:
        return None
    labels = dataset.session(origin.session).annotated2d()
    if labels is None:
        return None
    return labels_as_fitted(labels, fit.report, dataset.frame_indices(origin.session))


def _videos(origin: FitOrigin, fit: FitResult) -> dict[str, str]:
    """Name the cameras' videos, where the session's folder is still there."""
    source, result = Path(origin.source), {}
    names = () if fit.recorded_cameras is None else fit.recorded_cameras.names
    for name in names:
        try:
            result[name] = str(find_video(source / name, source / name / 'none.slp').resolve())
        except (OSError, ValueError):
            continue
    return result


def _write(
    shown: ExportedFit,
    folder: Path,
    wanted: Sequence[str],
    options: ExportOptions,
    made_of: Mapping[str, object],
    skip: bool,
) -> FitExport:
    """Write formats; one that cannot be is left out, or an error before any is written."""
    left_out = {name: why for name in wanted if (why := exporter(name).why_not(shown)) is not None}
    if left_out and not skip:
        name, why = next(iter(left_out.items()))
        raise ValueError(f'{shown.name}: {name} cannot be written: {why}.')
    outputs = OutputFolder(folder, MARKER)
    files = {}
    for name in (n for n in wanted if n not in left_out):
        inputs = MadeOf(made_of, {'options': repr(options), 'fps': shown.fps})
        outputs.part(name, inputs, True, partial(exporter(name).write, fit=shown, options=options))
        files[name] = [folder / file for file in outputs.files(name)]
    return FitExport(shown.name, folder, files, left_out)
