"""Measure models, registrations and fits, and how measurements grow with size."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from smilfit.apis.model_options import MeasuringOptions
from smilfit.body_models import SMIL, BodyModelData, is_shipped, load_body_model
from smilfit.evaluation.verdict import GOOD
from smilfit.files import read_npz
from smilfit.rigs.defaults import mean_betas, shape_sd
from smilfit.scans.measurements.allometry import (
    Allometry,
    allometry_table,
    write_allometry,
    write_measurements,
)
from smilfit.scans.measurements.definitions import Measurement, read_measurements
from smilfit.scans.measurements.measuring import default_measurements
from smilfit.scans.measurements.specimens import (
    REGISTRATION,
    Specimen,
    find_registrations,
    measure_fit,
    measure_model,
    measure_registration,
    read_registration,
)
from smilfit.structures.body import MILLIMETRES
from smilfit.structures.fit_record import FitVerdict


@dataclass(frozen=True)
class MeasuringRun:
    """What was measured and written."""

    specimens: list[Specimen]
    table: Path
    allometry: list[Allometry] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def measure(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    measurements: str | Path | None = None,
    allometry: str | None = None,
    options: MeasuringOptions | None = None,
    told: Callable[[Specimen], None] | None = None,
) -> MeasuringRun:
    """Measure specimens, and write a row for each of their measurements.

    Args:
        paths: body models (files, or names of shipped ones), registrations (`registration.npz`, its folder, or a
            folder of these) and fits (as of `export_fit`).
        out: the csv. With `allometry`, `<out>_allometry.csv` and `.png` stand beside it.
        measurements: a file of measurements; else those that any model has.
        allometry: the measurement that others' growth is held against.
        options: how things are measured.
        told: called with each specimen.

    Raises:
        FileNotFoundError: nothing there that can be measured.
        ValueError: a file of measurements, betas or units that do not fit.
    """
    options, out = options or MeasuringOptions(), Path(out)
    if out.suffix != '.csv':
        raise ValueError(f'--out: the table must end in .csv; got {out.name!r}. Rename it.')
    if options.unit is not None and options.unit not in MILLIMETRES:
        raise ValueError(f'--unit must be one of {", ".join(MILLIMETRES)}; got {options.unit!r}. Choose one.')
    specimens: list[Specimen] = []
    for path in paths:
        for specimen in _specimens(path, measurements, options):
            specimens.append(specimen)
            if told is not None:
                told(specimen)
    slopes, left_out = allometry_table(specimens, allometry, options.keep_doubted) if allometry else ([], {})
    out.parent.mkdir(parents=True, exist_ok=True)
    files = [write_measurements(out, specimens)]
    if allometry:
        files.append(write_allometry(out.with_name(f'{out.stem}_allometry.csv'), slopes))
        if slopes:
            files.append(_plot(out.with_name(f'{out.stem}_allometry.png'), slopes, specimens[0].length_unit))
    return MeasuringRun(specimens, out, slopes, left_out, tuple(files))


def _plot(path: Path, slopes: Sequence[Allometry], unit: str) -> Path:
    # matplotlib comes with it.
    from smilfit.drawing.report import figure_png
    from smilfit.files import write_bytes
    from smilfit.scans.measurements.allometry import plot_allometry

    return write_bytes(path, figure_png(plot_allometry(slopes, unit)))


def _specimens(
    path: str | Path, measurements: str | Path | None, options: MeasuringOptions
) -> Iterator[Specimen]:
    """Measure what lies at a path, whatever it is."""
    kind = _kind(path)
    if kind == 'registration':
        files = find_registrations(path)
        body = model_of_registrations(files[0], options.body_model)
        wanted = _wanted(body.data, measurements)
        for file in files:
            yield measure_registration(read_registration(file), body, wanted, options.unit)
    elif kind == 'fit':
        # What reads predictions, too, comes with it: seconds.
        from smilfit.apis.fitting.fit_exporting import find_fits, load_export

        for name, file in find_fits(path).items():
            shown = load_export(file, options.body_model)
            wanted = _wanted(shown.body.data, measurements)
            result = measure_fit(shown.fit, name, shown.body, wanted, options.poses, options.unit)
            yield replace(result, doubts=_reasons_against(shown.fit.verdict))
    else:
        body = load_body_model(path)
        shapes = _shapes(body.data, options)
        yield from measure_model(body, _wanted(body.data, measurements), shapes, options.unit)


def _reasons_against(verdict: FitVerdict | None) -> tuple[str, ...]:
    """Return why a fit as a whole is not to be believed."""
    if verdict is None or verdict.word == GOOD:
        return ()
    return tuple(f'the fit is {verdict.word}: {why}' for why in verdict.reasons) or (
        f'the fit is {verdict.word}',
    )


def model_of_registrations(path: Path, given: str | Path | None) -> SMIL:
    """Load the body model of a registration, as `model_file_of` finds it."""
    return load_body_model(model_file_of(path, given))


def model_file_of(path: Path, given: str | Path | None) -> str | Path:
    """Name the body model of a registration: the caller's, else the one that it names, if it is still there.

    Raises:
        ValueError: none is known.
    """
    named = read_npz(path, ('model_file',), 'a registration').get('model_file')
    file: str | Path | None = given
    if file is None and named is not None:
        # A relative one is relative to the registration; what is absolute stays so.
        file = str(named) if is_shipped(str(named)) else path.parent / str(named)
    if file is None or not (is_shipped(file) or Path(file).is_file()):
        raise ValueError(f'{path}: the body model must be known; got {file}. Give --body-model FILE.')
    return file


def _kind(path: str | Path) -> str:
    """Return what lies at a path: 'model', 'registration' or 'fit'."""
    if is_shipped(path):
        return 'model'
    path = Path(path)
    if path.is_dir():
        own, inner = path / REGISTRATION, path.glob(f'*/{REGISTRATION}')
        return 'registration' if own.is_file() or any(inner) else 'fit'
    if path.suffix != '.npz':
        return 'model'
    result = read_npz(path, ('unposed', 'per_frame_loss', 'transl'), 'a model, a registration or a fit')
    if 'unposed' in result:
        return 'registration'
    return 'fit' if result else 'model'


def _wanted(data: BodyModelData, measurements: str | Path | None) -> tuple[Measurement, ...]:
    if measurements is None:
        return default_measurements(data)
    return read_measurements(measurements, data)


def _shapes(data: BodyModelData, options: MeasuringOptions) -> dict[str, tuple[float, ...]]:
    """Return the shapes of a model that are asked for, by name."""
    result = dict(options.betas)
    if not options.beta_steps:
        return result
    mean, steps = mean_betas(data), options.beta_steps * np.diag(shape_sd(data))
    for s, step in enumerate(steps):
        for sign in (-1, 1):
            result[f'betas[{s}] {sign * options.beta_steps:+g} sd'] = tuple((mean + sign * step).tolist())
    return result
