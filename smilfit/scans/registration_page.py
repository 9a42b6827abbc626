"""The pages of registrations: scan and body side by side, what is off as colours, and a summary of all specimens."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from smilfit.drawing.far_views import blank, far_camera, looking_at
from smilfit.drawing.marks import put_label
from smilfit.drawing.overlays import grid_of_views
from smilfit.drawing.report import Report
from smilfit.renderers import ZBufferRenderer, overlay
from smilfit.scans.registration.result import Record

# Two sides of an animal: turns about its longest axes, degrees.
VIEWS = ((90.0, 'from above'), (10.0, 'from its side'))
# Of the extent: the end of the colours.
WORST = 0.02
# Where the table of colours is blue.
_BLUE = 0.12


def error_colours(distance: Float[np.ndarray, ' V'], worst: float) -> UInt8[np.ndarray, 'V 3']:
    """Colour distances: blue is none, red is `worst` or more; what has no distance is grey."""
    share = np.nan_to_num(distance / worst, nan=0.0, posinf=1.0).clip(0, 1)
    # What comes before blue in that table is nearly black, in which a shape is not seen.
    share = _BLUE + (1 - _BLUE) * share
    table = cv2.applyColorMap((255 * share).astype(np.uint8).reshape(-1, 1), cv2.COLORMAP_TURBO)
    colours = table[:, 0, ::-1].copy()
    colours[np.isnan(distance)] = 150
    return colours


def draw_registration(
    scan: tuple[np.ndarray, np.ndarray],
    body: tuple[np.ndarray, np.ndarray],
    body_distance: Float[np.ndarray, ' V'],
    axes: Float[np.ndarray, '3 3'] | None = None,
    side_px: int = 480,
) -> UInt8[np.ndarray, 'H W 3']:
    """Draw scan and registration side by side from two sides; the body is coloured by its distance from the scan.

    Args:
        body: vertices and faces of the registered surface.
        body_distance: of its vertices from the scan.
        axes: rows: the animal's forward, left and up; the scan's principal axes if None.
    """
    extent = float(np.ptp(scan[0], axis=0).max())
    if axes is None:
        _, _, axes = np.linalg.svd(scan[0] - scan[0].mean(0), full_matrices=False)
        axes[2] *= np.sign(np.linalg.det(axes))
    # Both must be seen whole, along these axes: a body that is wrong, or whose limbs the scan lacks, reaches beyond
    # the scan.
    both = np.concatenate([scan[0], body[0]]) @ axes.T
    centre = 0.5 * (both.min(0) + both.max(0))
    aside = 2 * float(np.linalg.norm((both - centre)[:, 1:], axis=1).max())
    centre, size = centre @ axes, max(float(np.ptp(both[:, 0])), aside)
    grey = np.full((len(scan[0]), 3), 170, np.uint8)
    colours = error_colours(body_distance, WORST * extent)
    tiles = []
    for tilt, name in VIEWS:
        rotation = looking_at(torch.from_numpy(axes), 0.0, tilt)
        camera = far_camera(rotation, torch.from_numpy(centre), size, (side_px, side_px), 12 * size, 0.85)
        for (vertices, faces), tint, label in (
            (scan, grey, f'scan, {name}'),
            (body, colours, f'registered, red: {100 * WORST:g} % off'),
        ):
            mesh = torch.from_numpy(vertices).float().unsqueeze(0)
            drawn = ZBufferRenderer()(
                mesh, torch.as_tensor(faces), camera, torch.from_numpy(tint).float() / 255
            )
            tiles.append(overlay(blank(camera).image, drawn, 0, 1.0))
            put_label(tiles[-1], label)
    return grid_of_views(tiles, columns=2)


def registration_rows(records: Sequence[Record]) -> list[dict[str, object]]:
    """Return the table of specimens."""
    rows = []
    for record in records:
        unit = record.get('unit') or 'unit'
        valid, back = record['distance_scan_to_body'], record['distance_body_to_scan']
        rows.append(
            {
                'specimen': record['name'],
                f'extent, {unit}': record['scan_extent'],
                'scan to body, median % of extent': 100 * valid['median_share'],
                '95 %': 100 * valid['percentile_95_share'],
                'body to scan, median % of extent': 100 * back['median_share'],
                'scale': record['scale'],
                'absent': ', '.join(record['absent']) or '-',
                'state': _state(record),
                's': record['seconds']['all'],
            }
        )
    return rows


def _state(record: Record) -> str:
    if record.get('doubts'):
        return 'not believable'
    return 'converged' if record['converged'] else 'not converged'


def registration_page(
    title: str,
    records: Sequence[Record],
    images: Mapping[str, Path],
    failed: Mapping[str, str],
) -> Report:
    """Make the page of all specimens.

    Args:
        failed: why a specimen was not registered, by name.
    """
    report = Report(title)
    shares = [100 * r['distance_scan_to_body']['median_share'] for r in records]
    doubted = sum(bool(r.get('doubts')) for r in records)
    sentences = [f'Registered: {len(records)}, not believable: {doubted}, failed: {len(failed)}.']
    if shares:
        sentences.append(
            f'Half of the points of the middle specimen lie within {np.median(shares):.2g} % of the extent from the '
            'registered surface. That tells of surfaces, not of which point is which: look at the pictures.'
        )
    report.add_section('Registrations', sentences)
    warned = [w for r in records for w in r.get('warnings', ())]
    if warned:
        report.add_text(*warned)
    if records:
        report.add_table(registration_rows(records), 'Every specimen; the worst picture first below')
    if failed:
        report.add_table(
            [{'specimen': n, 'why it was not registered': w} for n, w in failed.items()], 'Failed'
        )
    order = sorted(records, key=lambda r: -r['distance_scan_to_body']['percentile_95_share'])
    shown = [r['name'] for r in order if r['name'] in images][:60]
    if shown:
        report.add_section('Pictures', 'Left the scan, right the registered body, from two sides.')
        report.add_images([images[n] for n in shown], shown)
    return report
