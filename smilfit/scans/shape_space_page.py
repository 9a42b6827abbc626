"""The page of a shape space: its curves, and what its first betas do to the animal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from smilfit.body_models import SMIL
from smilfit.drawing.marks import BODY, put_text
from smilfit.drawing.overlays import grid_of_views
from smilfit.drawing.plots import COLOURS, new_figure, style_axes
from smilfit.drawing.report import Report
from smilfit.io.lookup_proposals import body_axes
from smilfit.renderers import ZBufferRenderer, overlay
from smilfit.scans.shape_space import Curve, Curves, ShapeSpace
from smilfit.structures import Cameras

# Standard deviations shown, and of how many betas.
STEPS, MOST_BETAS = (-3.0, -2.0, 0.0, 2.0, 3.0), 3
_SIDE_PX = 300
# Cameras so far away that near and far look alike, in sizes of the body; and the share of the picture that it fills.
_FAR, _FILLED = 20.0, 0.8


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


def beta_pictures(body: SMIL, betas: Sequence[int]) -> dict[int, UInt8[np.ndarray, 'H W 3']]:
    """Draw what betas do: a row of -3, -2, 0, 2 and 3 standard deviations from the side, and one from above."""
    axes = body_axes(body.data)
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
    right = -axes.left
    views = {
        'side': _camera(axes.forward, -axes.up, -right, centre, size),
        'above': _camera(axes.forward, right, -axes.up, centre, size),
    }
    return {
        b: grid_of_views(
            [
                _tile(body, mesh, camera, (f'{step:+g} sd' if step else 'mean') if name == 'side' else name)
                for name, camera in views.items()
                for step, mesh in zip(STEPS, meshes)
            ],
            columns=len(STEPS),
        )
        for b, meshes in shapes.items()
    }


def _tile(body: SMIL, vertices: torch.Tensor, camera: Cameras, text: str) -> UInt8[np.ndarray, 'H W 3']:
    canvas = np.full((_SIDE_PX, _SIDE_PX, 3), 245, np.uint8)
    render = ZBufferRenderer()(vertices.float().unsqueeze(0), body.faces.cpu(), camera)
    drawn = overlay(canvas, render, 0, 0.9, tuple(c / 255 for c in BODY.colour))
    put_text(drawn, text, (8, 22), 0.5)
    return drawn


def _camera(
    right: Float[np.ndarray, '3'],
    down: Float[np.ndarray, '3'],
    into: Float[np.ndarray, '3'],
    middle: torch.Tensor,
    size: float,
) -> Cameras:
    rotation = torch.from_numpy(np.stack((right, down, into))).double()
    focal, centre = _FILLED * _SIDE_PX * _FAR, (_SIDE_PX - 1) / 2
    K = torch.tensor([[[focal, 0.0, centre], [0.0, focal, centre], [0.0, 0.0, 1.0]]])
    t = torch.tensor([0.0, 0.0, _FAR * size]).double() - rotation @ middle.double().cpu()
    sides = torch.full((1, 2), float(_SIDE_PX))
    return Cameras(('view',), K, rotation.float().unsqueeze(0), t.float().unsqueeze(0), sides)


def shape_space_page(
    space: ShapeSpace,
    curves: Mapping[str, Curves],
    figure: Figure,
    pictures: Mapping[int, np.ndarray],
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
    for beta, picture in pictures.items():
        page.add_figure(picture, f'beta {beta}')
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
