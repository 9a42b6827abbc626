"""Figures of cameras: where they stand, what of their images was seen, and by how much they miss."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from smilfit.cameras.boards import Board
from smilfit.cameras.rig import project
from smilfit.cameras.rig_calibration import RigCalibration
from smilfit.cameras.summary import covered_share, spread_px
from smilfit.drawing.plots import COLOURS, new_axes, new_figure, plain_text, style_axes
from smilfit.drawing.report import Report

# Cells of a picture of coverage along its longer side.
_CELLS = 16
_MOST_ARROWS = 600
# Misses of good corners are drawn so many times as long.
LONGER = 40


def plot_misses(
    xy: Float[np.ndarray, 'n 2'],
    predicted: Float[np.ndarray, 'n 2'],
    size: Sequence[float],
    title: str,
    labels: str = 'labels',
) -> Figure:
    """Draw where a camera's pixels lie in its image, with arrows to where the calibration puts them."""
    figure, axes = new_axes(title, 'x (px)', 'y (px)', 6.4, 6.4 * size[1] / size[0])
    step = max(1, len(xy) // _MOST_ARROWS)
    gap = (predicted - xy)[::step]
    x, y = xy[::step].T
    axes.scatter(x, y, s=4, color=COLOURS[0], label=labels)
    axes.quiver(
        *(x, y, gap[:, 0], gap[:, 1]), angles='xy', scale_units='xy', scale=1, width=0.0022, color=COLOURS[5]
    )
    axes.plot([], [], color=COLOURS[5], label='to the reprojection')
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_aspect('equal')
    axes.legend(loc='upper right', fontsize=8)
    return figure


def plot_on_image(
    image: UInt8[np.ndarray, 'H W 3'],
    xy: Float[np.ndarray, 'n 2'],
    before: Float[np.ndarray, 'n 2'],
    after: Float[np.ndarray, 'n 2'],
    title: str,
) -> Figure:
    """Draw what was labelled in an image, and where two calibrations put it; the part round labels and the new."""
    height, width = image.shape[:2]
    both = np.concatenate((xy, after))
    centre = (both.min(0) + both.max(0)) / 2
    reach = 0.75 * float((both.max(0) - both.min(0)).max()) + 40
    low = np.maximum(centre - reach, -0.5)
    high = np.minimum(centre + reach, (width - 0.5, height - 0.5))
    figure = new_figure(6.4, 6.4 * float((high[1] - low[1]) / max(high[0] - low[0], 1.0)) + 0.6)
    axes = figure.add_subplot()
    style_axes(axes, title, 'x (px)', 'y (px)')
    axes.imshow(image)
    axes.grid(False)
    for a, b in zip(xy, after):
        axes.plot(*zip(a, b), color=COLOURS[1], linewidth=0.8)
    marks = (('labels', xy, 'o', 0), ('before', before, 'x', 5), ('after', after, '+', 1))
    for name, pixels, mark, colour in marks:
        axes.plot(*pixels.T, mark, color=COLOURS[colour], label=name, markersize=6, fillstyle='none')
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(high[1], low[1])
    axes.legend(loc='upper right', fontsize=8)
    return figure


def plot_coverage(
    xy: Float[np.ndarray, 'n 2'], size: Sequence[float], title: str, what: str = 'corners'
) -> Figure:
    """Draw how many corners (or labels) each part of a camera's image has seen; empty parts tell the lens nothing."""
    figure = new_figure(5.2, 5.2 * size[1] / size[0] + 0.5)
    axes = figure.add_subplot()
    style_axes(axes, title, 'x (px)', 'y (px)')
    cell = max(size) / _CELLS
    bins = [np.arange(0, s + cell, cell) for s in size]
    counts = np.histogram2d(xy[:, 0], xy[:, 1], bins=bins)[0].T
    shown = axes.imshow(
        np.where(counts > 0, counts, np.nan), extent=(0, bins[0][-1], bins[1][-1], 0), cmap='viridis'
    )
    axes.set_xlim(0, size[0])
    axes.set_ylim(size[1], 0)
    axes.set_facecolor('#eeeeee')
    axes.grid(False)
    figure.colorbar(shown, ax=axes, label=what, shrink=0.8)
    return figure


def plot_places(
    centres: Float[np.ndarray, 'C 3'],
    directions: Float[np.ndarray, 'C 3'],
    names: Sequence[str],
    points: Float[np.ndarray, 'n 3'],
    unit: str,
    before: tuple[np.ndarray, str] | None = None,
) -> Figure:
    """Draw the rig from two sides: cameras with the way they look, and the points that they saw.

    Args:
        centres: where the cameras stand, world.
        directions: where they look, unit vectors.
        unit: of the world.
        before: a further place, and what to call it.
    """
    figure = new_figure(10.0, 4.8)
    everything = np.concatenate((centres, points[:: max(1, len(points) // 400)]))
    reach = 0.25 * float(np.linalg.norm(everything.max(0) - everything.min(0)))
    for at, (i, j) in enumerate(((0, 1), (0, 2))):
        axes = figure.add_subplot(1, 2, at + 1)
        style_axes(axes, f'along {"zy"[at]}', f'{"xyz"[i]} ({unit})', f'{"xyz"[j]} ({unit})')
        thin = points[:: max(1, len(points) // 400)]
        axes.scatter(thin[:, i], thin[:, j], s=3, color='#999999')
        for c, name in enumerate(names):
            colour = COLOURS[c % len(COLOURS)]
            axes.plot(*(centres[c, [i, j]][:, None]), 's', color=colour, markersize=7)
            end, place = centres[c] + reach * directions[c], (centres[c, i], centres[c, j])
            arrow = {'arrowstyle': '->', 'color': colour}
            axes.annotate('', xy=(end[i], end[j]), xytext=place, arrowprops=arrow)
            axes.annotate(plain_text(name), place, fontsize=9, xytext=(5, 5), textcoords='offset points')
        if before is not None:
            axes.plot(before[0][i], before[0][j], 'x', color='#000000', markersize=8)
            place, text = (before[0][i], before[0][j]), plain_text(before[1])
            axes.annotate(text, place, fontsize=8, xytext=(5, -10), textcoords='offset points')
        axes.set_aspect('equal', adjustable='datalim')
    return figure


def plot_distances(series: dict[str, np.ndarray], title: str, widest_px: float) -> Figure:
    """Draw the shares of pixels within a distance, a line for each calibration."""
    figure, axes = new_axes(title, 'distance (px)', 'pixels within it (%)', 6.4, 3.6)
    for n, (name, values) in enumerate(series.items()):
        known = np.sort(values[~np.isnan(values)])
        if len(known):
            share = 100 * np.arange(1, len(known) + 1) / len(known)
            axes.step(known, share, where='post', label=plain_text(name), color=COLOURS[n % len(COLOURS)])
    axes.set_xlim(0, widest_px)
    axes.set_ylim(0, 100)
    axes.legend(fontsize=8, loc='lower right')
    return figure


def plot_frames(errors: dict[str, np.ndarray], frames: dict[str, np.ndarray]) -> Figure:
    """Draw each camera's median distance (px) by frame."""
    figure, axes = new_axes('By frame', 'frame', 'median distance (px)', 8.0, 3.2)
    for n, (name, error) in enumerate(errors.items()):
        valid = np.unique(frames[name])
        centre = [np.median(error[frames[name] == f]) for f in valid]
        axes.plot(valid, centre, '.-', label=plain_text(name), color=COLOURS[n % len(COLOURS)], linewidth=0.8)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    return figure


def rig_page(calibration: RigCalibration, board: Board, sentences: list[str], folder: Path) -> Report:
    """Make the page: corners' distances by camera and frame, coverage, places, scale."""
    names, rig, observed = calibration.cameras.names, calibration.rig, calibration.observed
    median, high = spread_px(calibration.error_px)
    page = Report('Cameras calibrated by boards', sentences, folder)
    cards = [
        (f'{median:.2f} px', 'median distance of corners', f'95 %: {high:.2f} px'),
        (f'{len(calibration.frames)}', 'frames', f'{len(calibration.error_px)} corners'),
    ]
    if len(calibration.edges_mm):
        cards.append(
            (
                f'{np.median(calibration.edges_mm):.2f} mm',
                'edge as measured',
                f'{board.edge_mm:g} mm as stated',
            )
        )
    page.add_numbers(cards)
    page.add_section('Cameras')
    page.add_table([_camera_row(calibration, c) for c in range(len(names))])
    page.add_figure(
        plot_places(rig.centres, rig.R[:, 2], names, calibration.blocks.place(observed), 'mm'),
        'Squares are cameras, arrows the way they look, dots corners of the boards.',
    )
    page.add_section('What of the images saw the board', 'Where no corner was, the lens is not known.')
    pick = [observed.camera == c for c in range(len(names))]
    sizes = calibration.cameras.size.tolist()
    page.add_images(
        [plot_coverage(observed.xy[p], sizes[c], names[c]) for c, p in enumerate(pick)],
        [f'Corners in {n}' for n in names],
    )
    page.add_section('Distances', 'Of detected corners from those of the boards, px.')
    series = {n: calibration.error_px[p] for n, p in zip(names, pick)}
    page.add_figure(plot_distances(series, 'Corners', 1.5 * max(high, 0.1)))
    page.add_figure(
        plot_frames(
            series, {n: np.array(calibration.frames)[observed.block[p]] for n, p in zip(names, pick)}
        ),
        'A frame that misses in all cameras was moved or blurred; one camera that misses in all frames was knocked.',
    )
    ends = project(rig, observed.camera, calibration.blocks.place(observed))[0]
    longer = observed.xy + LONGER * (ends - observed.xy)
    page.add_images(
        [plot_misses(observed.xy[p], longer[p], sizes[c], names[c], 'corners') for c, p in enumerate(pick)],
        [f'{n}, misses {LONGER} times as long: arrows of one direction side by side are lens' for n in names],
    )
    if len(calibration.edges_mm):
        page.add_section('Scale', 'Edges of the board as the cameras place their ends, each frame by itself.')
        figure, axes = new_axes('Edges of the board', 'length (mm)', 'edges', 6.4, 3.2)
        axes.hist(calibration.edges_mm, bins=60)
        axes.axvline(board.edge_mm, color='#000000', linestyle='--')
        page.add_figure(figure, f'Dashed: the stated {board.edge_mm:g} mm.')
    page.add_section('Boards')
    page.add_table(
        [_frame_row(calibration, i) for i in range(len(calibration.frames))],
        'Median distance by frame and camera, px',
    )
    return page


def _camera_row(calibration: RigCalibration, c: int) -> dict[str, object]:
    rig, pick = calibration.rig, calibration.observed.camera == c
    median, high = spread_px(calibration.error_px[pick])
    x, y, z = rig.centres[c]
    covered = covered_share(calibration.observed.xy[pick], calibration.cameras.size[c].tolist())
    return {
        'camera': calibration.cameras.names[c],
        'median (px)': f'{median:.3f}',
        '95 % (px)': f'{high:.3f}',
        'frames': len(np.unique(calibration.observed.block[pick])),
        'corners': int(pick.sum()),
        'image covered': f'{100 * covered:.0f} %',
        'focal length (px)': f'{rig.focal[c, 0]:.1f} ± {calibration.focal_sd[c]:.2g}',
        'principal point (px)': f'{rig.centre[c, 0]:.1f}, {rig.centre[c, 1]:.1f}',
        'lens': ', '.join(f'{k:.3g}' for k in np.trim_zeros(rig.dist[c], 'b')),
        'place (mm)': f'{x:.0f}, {y:.0f}, {z:.0f}',
    }


def _frame_row(calibration: RigCalibration, i: int) -> dict[str, object]:
    row: dict[str, object] = {'frame': calibration.frames[i]}
    for c, name in enumerate(calibration.cameras.names):
        pick = (calibration.observed.camera == c) & (calibration.observed.block == i)
        row[name] = f'{np.median(calibration.error_px[pick]):.2f}' if pick.any() else ''
    return row
