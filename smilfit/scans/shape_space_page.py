"""The page of a shape space: its curves, and what its first betas do to the animal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smilfit.body_models import SMIL
from smilfit.drawing.far_views import ABOVE, FAR, NO_POINTS, SIDE, blank, far_camera, looking_at, own_axes
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, grid_of_views
from smilfit.drawing.plots import COLOURS, new_figure, style_axes
from smilfit.drawing.report import Report
from smilfit.scans.shape_space import Curve, Curves, ShapeSpace

# Standard deviations shown, and of how many betas.
STEPS, MOST_BETAS = (-3.0, -2.0, 0.0, 2.0, 3.0), 3
_SIDE_PX = 300


def curves_figure(curves: Mapping[str, Curves], kept: Mapping[str, int], unit: str) -> Figure:
    """Plot the three curves of all blocks.

    Args:
        kept: how many components the model has of each.
    """
    figure = new_figure(10.5, 3.4)
    titles = (
        ('compactness', 'share of the variance (%)'),
        ('generalisation', f'error of a specimen left out ({unit})'),
        ('specificity', f'drawn to nearest specimen ({unit})'),
    )
    for i, (name, y) in enumerate(titles):
        axes = figure.add_subplot(1, 3, i + 1)
        style_axes(axes, name, 'components', y)
        for colour, (block, result) in zip(COLOURS, curves.items()):
            curve: Curve = getattr(result, name).times(100.0 if i == 0 else 1.0)
            count = np.arange(1, len(curve.value) + 1)
            axes.fill_between(count, curve.low, curve.high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(count, curve.value, '.-', color=colour, label=block)
            axes.axvline(kept[block], color=colour, linestyle=':', linewidth=1)
        if i == 1:
            for colour, result in zip(COLOURS, curves.values()):
                axes.axhline(result.spread, color=colour, linestyle='--', linewidth=0.8)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(curves) > 1:
        figure.axes[0].legend(fontsize=8)
    return figure


def beta_images(body: SMIL, betas: Sequence[int]) -> dict[int, UInt8[np.ndarray, 'H W 3']]:
    """Draw what betas do: a row of -3, -2, 0, 2 and 3 standard deviations from the side, and one from above."""
    rows = {b: torch.zeros(len(STEPS), body.n_betas) for b in betas}
    for b, row in rows.items():
        row[:, b] = torch.tensor(STEPS)
    with torch.no_grad():
        shapes = {
            b: body(
                body.zero_params(len(STEPS)).replace(betas=row.to(body.v_template)), ('vertices',)
            ).vertices
            for b, row in rows.items()
        }
    every = torch.cat(list(shapes.values()))
    centre = 0.5 * (every.amin((0, 1)) + every.amax((0, 1)))
    size = float((every - centre).norm(dim=-1).max()) * 2
    axes, painter = own_axes(body.data), OverlayPainter(body.faces)
    cameras = {
        name: far_camera(looking_at(axes, rotation, tilt), centre, size, (_SIDE_PX, _SIDE_PX), FAR * size)
        for name, rotation, tilt in (SIDE, ABOVE)
    }

    def tile(name: str, step: float, vertices: torch.Tensor) -> np.ndarray:
        label = name if name != 'side' else f'{step:+g} sd' if step else 'mean'
        shown = ShownBody(vertices, NO_POINTS, opacity=0.9)
        return painter.tile(Panel(label, blank(cameras[name]), NO_POINTS, body=shown))

    return {
        b: grid_of_views(
            [tile(name, step, mesh) for name in cameras for step, mesh in zip(STEPS, meshes)],
            columns=len(STEPS),
        )
        for b, meshes in shapes.items()
    }


def shape_space_page(
    space: ShapeSpace,
    curves: Mapping[str, Curves],
    figure: Figure,
    images: Mapping[int, np.ndarray],
    unit: str,
    remarks: Sequence[str],
    folder: Path | None = None,
) -> Report:
    """Make the page."""
    data, n = space.data, len(space.scores)
    counts = ', '.join(
        f'{b.count} of {b.name} ({100 * b.kept:.1f} % of their variance)' for b in space.blocks
    )
    summary = [f'{data.name}: {n} specimens, {space.form}; {data.n_betas} betas: {counts}.', *remarks]
    page = Report('Shape space', summary, folder)
    page.add_section(
        'How good it is',
        'Bands are 95 % intervals: of compactness by leaving out specimens, of generalisation by what specimens '
        'differ in their error, of specificity by what drawn animals differ. Dotted: the components of the model. '
        'Dashed: the spread of specimens, which a space that says nothing would leave.',
    )
    page.add_figure(figure)
    page.add_table([_row(b.name, b.count, curves[b.name], unit) for b in space.blocks])
    page.add_section(
        'What the first betas do', 'From the side and from above, at -3 to 3 standard deviations.'
    )
    for beta, image in images.items():
        page.add_figure(image, f'beta {beta}')
    return page


def _row(name: str, count: int, curves: Curves, unit: str) -> dict[str, str]:
    at = min(count, len(curves.generalisation.value)) - 1

    def told(curve: Curve, digits: str = '.3g') -> str:
        return f'{curve.value[at]:{digits}} ({curve.low[at]:{digits}} to {curve.high[at]:{digits}})'

    return {
        'block': name,
        'components': str(count),
        'share of the variance': told(curves.compactness),
        f'error of one left out, {unit}': told(curves.generalisation),
        f'drawn to the nearest, {unit}': told(curves.specificity),
        f'spread, {unit}': f'{curves.spread:.3g}',
    }
