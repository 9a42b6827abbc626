"""Make a model's shape space of registered specimens, with a page that tells how good it is."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smilfit.apis.model_options import ShapeSpaceOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input
from smilfit.body_models import SMIL, save_body_model
from smilfit.files import write_bytes, write_text
from smilfit.scans.measure import model_file_of, model_of_registrations
from smilfit.scans.measurements.specimens import Registration, find_registrations, read_registration
from smilfit.scans.shape_space import (
    Curves,
    RestShapes,
    ShapeSpace,
    rest_shapes,
    shape_curves,
    shape_space,
)

SUFFIX = '.smil.json'


@dataclass(frozen=True)
class ShapeSpaceRun:
    """What was found and written; errors are in `unit`."""

    space: ShapeSpace
    curves: dict[str, Curves]
    unit: str
    remarks: tuple[str, ...]
    files: tuple[Path, ...]


@with_options(ShapeSpaceOptions)
def make_shape_space(
    paths: Sequence[str | Path], out: str | Path, options: ShapeSpaceOptions
) -> ShapeSpaceRun:
    """Analyse registrations, and write the model of their shape space, a page, a figure and the specimens' betas.

    Args:
        paths: `registration.npz`, folders of one, or folders of such folders.
        out: the model, `*.smil.json`; beside it go `<name>_shape_space.html`, `.png` and `<name>_scores.csv`.

    Raises:
        FileNotFoundError: no registration there.
        ValueError: what `shape_space` and `rest_shapes` refuse, or another ending of `out`.
    """
    out = Path(out)
    if not out.name.endswith(SUFFIX):
        raise ValueError(f'OUT: the model must end in {SUFFIX}; got {out.name!r}. Rename it.')
    files = [file for path in paths for file in find_registrations(path)]
    check_not_an_input(out, (*files, model_file_of(files[0], options.body_model)), 'OUT')
    registrations = [read_registration(file) for file in files]
    data = model_of_registrations(files[0], options.body_model).data
    name = out.name.removesuffix(SUFFIX)
    shapes = rest_shapes(registrations, data, options.keep_size)
    space = shape_space(shapes, data, options.form, options.variance, options.components, name)
    curves = {
        block.name: _in(shape_curves(rows, shapes.n_vertices), shapes.per_model_unit)
        for block, rows in zip(space.blocks, space.rows)
    }
    remarks = _remarks(space, shapes, registrations, options.keep_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    written = [save_body_model(space.data, out), _scores(out.with_name(f'{name}_scores.csv'), space, shapes)]
    written += _page(out.with_name(f'{name}_shape_space.html'), space, curves, shapes.unit, remarks)
    return ShapeSpaceRun(space, curves, shapes.unit, remarks, tuple(written))


def _in(curves: Curves, factor: float) -> Curves:
    errors = (curves.generalisation.times(factor), curves.specificity.times(factor))
    return Curves(curves.compactness, *errors, factor * curves.spread)


def _remarks(
    space: ShapeSpace, shapes: RestShapes, registrations: Sequence[Registration], keep_size: bool
) -> tuple[str, ...]:
    """Return what was done to the specimens, and what speaks against the space."""
    data, spread = space.data, 100 * np.log(shapes.sizes).std(ddof=1)
    size = f'{np.exp(np.log(shapes.sizes).mean()):.4g} {shapes.unit} (differing by {spread:.2g} %)'
    if keep_size:
        result = [f'Size is part of the shape space; the mean centroid size is {size}.']
    elif data.static_joints:
        result = [
            f'Specimens stay at the place of the joints, which no shape moves; centroid sizes are {size}.'
        ]
    else:
        result = [
            f'Each specimen was brought to the mean size; centroid sizes are {size}, in the table of scores.'
        ]
    if space.form == 'vertices' and data.static_joints and shapes.log_scales.any():
        result.append('Joint scales are in the vertices alone: the joints of this model stay where they are.')
    if data.scaledirs is not None:
        least, most = (
            float(np.exp(sign * 3 * np.abs(data.scaledirs).max())) if data.scaledirs.size else 1.0
            for sign in (-1, 1)
        )
        result.append(
            'Joint scales are stored by their logarithms: within 3 standard deviations of one beta they stay '
            f'between {least:.2g} and {most:.2g}.'
        )
    doubted = [r.name for r in registrations if r.doubts]
    if doubted:
        result.append(
            f'{len(doubted)} registrations are not believable and spoil the space: {", ".join(doubted[:5])}. Look at '
            'their pictures, and leave them out.'
        )
    absent = [r.name for r in registrations if r.absent]
    if absent:
        result.append(
            f"{len(absent)} specimens lack parts, which are the model's there: {', '.join(absent[:5])}."
        )
    return tuple(result)


def _scores(path: Path, space: ShapeSpace, shapes: RestShapes) -> Path:
    """Write each specimen's size and betas."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator='\n')
    table.writerow(['specimen', 'centroid_size', 'unit', *(f'beta_{i}' for i in range(space.data.n_betas))])
    for name, size, betas in zip(shapes.names, shapes.sizes, space.scores):
        table.writerow([name, f'{size:.6g}', shapes.unit, *(f'{b:.6g}' for b in betas)])
    return write_text(path, text.getvalue())


def _page(
    path: Path, space: ShapeSpace, curves: dict[str, Curves], unit: str, remarks: Sequence[str]
) -> list[Path]:
    # matplotlib comes with it.
    from smilfit.drawing.report import figure_png
    from smilfit.scans.shape_space_page import MOST_BETAS, beta_images, curves_figure, shape_space_page

    figure = curves_figure(curves, {block.name: block.count for block in space.blocks}, unit)
    first, at = [], 0
    for block in space.blocks:
        first += list(range(at, at + min(MOST_BETAS, block.count)))
        at += block.count
    images = beta_images(SMIL(space.data), first) if len(space.data.faces) else {}
    page = shape_space_page(space, curves, figure, images, unit, remarks, path.parent)
    return [page.save(path), write_bytes(path.with_suffix('.png'), figure_png(figure))]
