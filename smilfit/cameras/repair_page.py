"""The page of one camera that was calibrated anew."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from smilfit.cameras import CameraRepair
from smilfit.cameras.rig import Rig, angle_between, project
from smilfit.cameras.rig_page import (
    LONGER,
    plot_coverage,
    plot_distances,
    plot_misses,
    plot_on_image,
    plot_places,
)
from smilfit.cameras.summary import spread_px
from smilfit.drawing.report import Report
from smilfit.structures import Cameras


def repair_page(
    repair: CameraRepair,
    cameras: Cameras,
    point_names: list[str],
    sentences: list[str],
    folder: Path,
    images: Mapping[int, np.ndarray] | None = None,
) -> Report:
    """Make the page: distances before and after, where in the image, where the camera stands, how well it is known.

    Args:
        point_names: name of the keypoint (or board) of each of the camera's pixels.
        images: some of the camera's, RGB, by frame.
    """
    name, before = cameras.names[repair.camera], Rig.of(cameras)
    page = Report(f'Camera {name} calibrated anew', sentences, folder)
    _add_numbers(page, repair, before, cameras.unit or 'world unit')
    _add_distances(page, repair, cameras, point_names)
    if images:
        page.add_section(
            'Images', 'Labels, where the old calibration puts their points, and where the new one does.'
        )
        page.add_images(
            [_on_image(repair, before, frame, image) for frame, image in images.items()],
            [f'Frame {frame} of {name}' for frame in images],
        )
    _add_place(page, repair, cameras, before)
    page.add_section(
        'The other cameras',
        f'They did not move. {repair.observed_as.capitalize()}s follow all cameras, so their '
        'distances change a little.',
    )
    rows = [
        {'camera': cameras.names[o], 'median before (px)': f'{a:.2f}', 'median after (px)': f'{b:.2f}'}
        for o, (a, b) in repair.others_px.items()
    ]
    page.add_table(rows)
    return page


def _add_numbers(page: Report, repair: CameraRepair, before: Rig, unit: str) -> None:
    c, rig = repair.camera, repair.rig
    after, held = spread_px(repair.after), spread_px(repair.held_out_frames)
    page.add_numbers(
        [
            (f'{after[0]:.1f} px', 'median distance', f'{spread_px(repair.before)[0]:.1f} px before'),
            (f'{held[0]:.1f} px', 'in frames held out', f'95 %: {held[1]:.1f} px'),
            (f'{np.degrees(angle_between(rig.R[c], before.R[c])):.1f}°', 'turned', ''),
            (f'{np.linalg.norm(rig.centres[c] - before.centres[c]):.0f} {unit}', 'moved', ''),
        ]
    )


def _add_distances(page: Report, repair: CameraRepair, cameras: Cameras, point_names: list[str]) -> None:
    name, size = cameras.names[repair.camera], cameras.size[repair.camera].tolist()
    board = repair.observed_as == 'board'
    page.add_section(
        'Distances',
        f'From the {"boards" if board else "points"} that the other cameras place, px of the recorded image.',
    )
    lines = {
        'before': repair.before,
        'after': repair.after,
        'frames held out': repair.held_out_frames,
        'keypoints held out': repair.held_out_points,
    }
    known = {what: error for what, error in lines.items() if not np.isnan(error).all()}
    widest = 1.5 * max(spread_px(repair.after)[1], 1.0)
    page.add_figure(plot_distances(known, f'Camera {name}', widest))
    longer, what = (LONGER, 'corners') if board else (1, 'labels')
    ends = repair.xy + longer * (repair.predicted - repair.xy)
    page.add_figure(
        plot_misses(repair.xy, ends, size, f'Image of {name}', what),
        'What the camera saw, with lines to where the new calibration puts it'
        f'{f", {longer} times as long" if board else ""}.',
    )
    page.add_figure(
        plot_coverage(repair.xy, size, f'What of the image of {name} was seen', what),
        'Empty parts tell nothing of the lens.',
    )
    page.add_table(_by_point(repair, point_names), f'By {repair.observed_as}')


def _add_place(page: Report, repair: CameraRepair, cameras: Cameras, before: Rig) -> None:
    c, rig, unit = repair.camera, repair.rig, cameras.unit or 'world unit'
    old = before.centres[c], f'{cameras.names[c]} before'
    page.add_section('Place')
    page.add_figure(
        plot_places(rig.centres, rig.R[:, 2], cameras.names, repair.points, unit, old),
        'Squares are cameras, arrows the way they look, dots what they saw.',
    )
    page.add_table(_numbers(repair, before, unit), 'The camera, with standard deviations')


def _on_image(repair: CameraRepair, before: Rig, frame: int, image: np.ndarray) -> Figure:
    pick = repair.frame == frame
    old = project(before, np.full(int(pick.sum()), repair.camera), repair.points[pick])[0]
    return plot_on_image(image, repair.xy[pick], old, repair.predicted[pick], f'frame {frame}')


def _by_point(repair: CameraRepair, point_names: list[str]) -> list[dict[str, object]]:
    names = np.array(point_names)
    held = repair.held_out_frames if repair.observed_as == 'board' else repair.held_out_points
    rows = []
    for name in dict.fromkeys(point_names):
        pick = names == name
        row: dict[str, object] = {repair.observed_as: name, 'pixels': int(pick.sum())}
        for what, error in (
            ('before', repair.before),
            ('after', repair.after),
            ('held out', held),
        ):
            row[f'{what} (px)'] = f'{spread_px(error[pick])[0]:.1f}'
        rows.append(row)
    return rows


def _numbers(repair: CameraRepair, before: Rig, unit: str) -> list[dict[str, object]]:
    c, rig = repair.camera, repair.rig
    sd = np.sqrt(np.maximum(np.diagonal(repair.uncertainty.covariance), 0.0))

    def row(what: str, old: float, new: float, spread: float | None) -> dict[str, object]:
        shown = 'held' if spread is None else f'{spread:.3g}'
        return {'number': what, 'before': f'{old:.4g}', 'after': f'{new:.4g}', 'sd': shown}

    rows = [
        row(
            'focal length (px)',
            before.focal[c, 0],
            rig.focal[c, 0],
            sd[6] * rig.focal[c, 0] if sd[6] else None,
        )
    ]
    rows += [
        row(f'principal point {a} (px)', before.centre[c, i], rig.centre[c, i], sd[7 + i] or None)
        for i, a in enumerate('xy')
    ]
    lens = ('k1', 'k2', 'p1', 'p2', 'k3')
    rows += [
        row(n, before.dist[c, i], rig.dist[c, i], sd[9 + i] or None)
        for i, n in enumerate(lens)
        if rig.dist[c, i] or sd[9 + i]
    ]
    spread = np.sqrt(((repair.uncertainty.place_axes.T * repair.uncertainty.place_sd) ** 2).sum(1))
    rows += [
        row(f'place {a} ({unit})', before.centres[c, i], rig.centres[c, i], spread[i])
        for i, a in enumerate('xyz')
    ]
    return rows
