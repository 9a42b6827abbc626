"""Fit a body model to annotated images or single-view videos, from the annotation file to meshes and overlays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.fit_options import FitImagesOptions, FitOptions
from smilfit.apis.fitting.fit_run import FitRun, check_images_fit, fit_dataset
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.preprocessing.data_source import DataSource, as_images
from smilfit.apis.preprocessing.make_dataset import PreprocessRun, preprocess
from smilfit.apis.progress import ignore
from smilfit.apis.shipped_configs import FIT_IMAGES_CONFIG
from smilfit.files import writing
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.process_group import process_group


@with_options(FitOptions)
def fit(
    config: str | Path | Mapping[str, Any], data: str | Path, out: str | Path, options: FitOptions
) -> FitRun | None:
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


DATASET = 'pictures.h5'


@dataclass(frozen=True)
class FitImagesRun:
    """What came out of both steps."""

    dataset: PreprocessRun
    fit: FitRun


@with_options(FitImagesOptions)
def fit_images(
    source: DataSource,
    out: str | Path,
    body_model: str | Path,
    config: str | Path | Mapping[str, Any] = FIT_IMAGES_CONFIG,
    options: Mapping[str, Any] | None = None,
    *,
    fitting: FitImagesOptions,
    restart: bool = False,
    preprocessed: Callable[[PreprocessRun], object] | None = None,
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

    Raises:
        NotADirectoryError: `out` is a file.
        ValueError, KeyError: as of `preprocess` and `fit`.
    """
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
    return FitImagesRun(made, done)


def check_images_folder(out: str | Path) -> Path:
    """Check that results can be written into a folder.

    Raises:
        OSError: it is a file, or cannot be made.
    """
    folder = Path(out)
    if folder.suffix == '.h5' or folder.is_file():
        raise NotADirectoryError(f'{folder}: OUT must be a folder; got a file. Name a folder.')
    return check_output_folder(folder, 'OUT')
