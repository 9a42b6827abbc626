"""The page of a rig that was calibrated by boards."""

from pathlib import Path
from typing import Any

import numpy as np

from smilfit.calibration.boards import Board
from smilfit.calibration.rig import project
from smilfit.calibration.rig_calibration import RigCalibration
from smilfit.calibration.words import covered_share, spread_px
from smilfit.visualization.calibration_plots import (
    LONGER,
    plot_coverage,
    plot_distances,
    plot_frames,
    plot_misses,
    plot_places,
)
from smilfit.visualization.plots import new_axes
from smilfit.visualization.report import Report


def rig_page(found: RigCalibration, board: Board, sentences: list[str], folder: Path) -> Report:
    """Make the page: corners' distances by camera and frame, coverage, places, scale.

    Args:
        found: the rig.
        board: what was seen.
        sentences: the summary.
        folder: where the page will lie.
    """
    names, rig, seen = found.cameras.names, found.rig, found.seen
    median, high = spread_px(found.error_px)
    page = Report('Cameras calibrated by boards', sentences, folder)
    cards = [
        (f'{median:.2f} px', 'median distance of corners', f'95 %: {high:.2f} px'),
        (f'{len(found.frames)}', 'frames', f'{len(found.error_px)} corners'),
    ]
    if len(found.edges_mm):
        cards.append(
            (f'{np.median(found.edges_mm):.2f} mm', 'edge as measured', f'{board.edge_mm:g} mm as stated')
        )
    page.add_numbers(cards)
    page.add_section('Cameras')
    page.add_table([_camera_row(found, c) for c in range(len(names))])
    page.add_figure(
        plot_places(rig.centres, rig.R[:, 2], names, found.blocks.place(seen), 'mm'),
        'Squares are cameras, arrows the way they look, dots corners of the boards.',
    )
    page.add_section('What of the images saw the board', 'Where no corner was, the lens is not known.')
    pick = [seen.camera == c for c in range(len(names))]
    sizes = found.cameras.size.tolist()
    page.add_images(
        [plot_coverage(seen.xy[p], sizes[c], names[c]) for c, p in enumerate(pick)],
        [f'Corners in {n}' for n in names],
    )
    page.add_section('Distances', 'Of detected corners from those of the boards, px.')
    series = {n: found.error_px[p] for n, p in zip(names, pick)}
    page.add_figure(plot_distances(series, 'Corners', 1.5 * max(high, 0.1)))
    page.add_figure(
        plot_frames(series, {n: np.array(found.frames)[seen.block[p]] for n, p in zip(names, pick)}),
        'A frame that misses in all cameras was moved or blurred; one camera that misses in all frames was knocked.',
    )
    ends = project(rig, seen.camera, found.blocks.place(seen))[0]
    longer = seen.xy + LONGER * (ends - seen.xy)
    page.add_images(
        [plot_misses(seen.xy[p], longer[p], sizes[c], names[c], 'corners') for c, p in enumerate(pick)],
        [f'{n}, misses {LONGER} times as long: arrows of one direction side by side are lens' for n in names],
    )
    if len(found.edges_mm):
        page.add_section('Scale', 'Edges of the board as the cameras place their ends, each frame by itself.')
        figure, axes = new_axes('Edges of the board', 'length (mm)', 'edges', 6.4, 3.2)
        axes.hist(found.edges_mm, bins=60)
        axes.axvline(board.edge_mm, color='#000000', linestyle='--')
        page.add_figure(figure, f'Dashed: the stated {board.edge_mm:g} mm.')
    page.add_section('Boards')
    page.add_table(
        [_frame_row(found, i) for i in range(len(found.frames))], 'Median distance by frame and camera, px'
    )
    return page


def _camera_row(found: RigCalibration, c: int) -> dict[str, Any]:
    rig, pick = found.rig, found.seen.camera == c
    median, high = spread_px(found.error_px[pick])
    x, y, z = rig.centres[c]
    return {
        'camera': found.cameras.names[c],
        'median (px)': f'{median:.3f}',
        '95 % (px)': f'{high:.3f}',
        'frames': len(np.unique(found.seen.block[pick])),
        'corners': int(pick.sum()),
        'image covered': f'{100 * covered_share(found.seen.xy[pick], found.cameras.size[c].tolist()):.0f} %',
        'focal length (px)': f'{rig.focal[c, 0]:.1f} ± {found.focal_sd[c]:.2g}',
        'principal point (px)': f'{rig.centre[c, 0]:.1f}, {rig.centre[c, 1]:.1f}',
        'lens': ', '.join(f'{k:.3g}' for k in np.trim_zeros(rig.dist[c], 'b')),
        'place (mm)': f'{x:.0f}, {y:.0f}, {z:.0f}',
    }


def _frame_row(found: RigCalibration, i: int) -> dict[str, Any]:
    row: dict[str, Any] = {'frame': found.frames[i]}
    for c, name in enumerate(found.cameras.names):
        pick = (found.seen.camera == c) & (found.seen.block == i)
        row[name] = f'{np.median(found.error_px[pick]):.2f}' if pick.any() else ''
    return row
