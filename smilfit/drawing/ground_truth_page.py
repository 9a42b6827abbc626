"""The page of a dataset's ground truth: warnings, figures by session and camera, and samples with what is stored of
them."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from smilfit.body_models import SMIL
from smilfit.datasets import DatasetFile
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, grid_of_views
from smilfit.drawing.report import Report
from smilfit.drawing.windows import enlarge
from smilfit.evaluation.ground_truth import CameraFigures, SessionFigures
from smilfit.structures import BodyParams, Cameras

# Stored images are small: drawn larger, so that marks and letters can be seen.
IMAGE_PX = 360


def sample_image(dataset: DatasetFile, sample: int, body: SMIL | None) -> UInt8[np.ndarray, 'H W 3']:
    """Draw a sample's views: labels as dots, and as rings the keypoints of its parameters, else its 3D points.

    Args:
        sample: its number in the file.
        body: the body model, whose mesh is drawn where the sample has parameters.
    """
    record, names = dataset.record(sample), dataset.keypoint_names
    vertices = torch.full((1, 3), torch.nan, dtype=torch.float64)
    points = np.where(record.confidence3d[:, None] > 0, record.keypoints3d, np.nan)
    if body is not None and record.params is not None:
        given = {n: torch.from_numpy(np.asarray(v)[None]) for n, v in record.params.items()}
        with torch.no_grad():
            output = body(BodyParams.of(given).to(body.v_template), ('vertices', *names))
        vertices, points = output.vertices[0].cpu(), output.select(names)[0].double().cpu().numpy()
    panels = []
    for c in np.flatnonzero(record.view_mask):
        K, R, t, size, dist = (
            torch.from_numpy(np.asarray(array[c : c + 1]))
            for array in (record.K, record.R, record.t, record.size, record.dist)
        )
        camera = Cameras((dataset.camera_names[c],), K, R, t, size, dist)
        pixels, _, valid = camera.project(torch.from_numpy(np.nan_to_num(points)))
        present = valid[0].numpy() & np.isfinite(points).all(-1)
        shown = ShownBody(vertices, np.where(present[:, None], pixels[0].numpy(), np.nan))
        labels = np.where(record.confidence2d[c][:, None] > 0, record.keypoints2d[c], np.nan)
        view = enlarge(dataset.image(sample, int(c)), camera, IMAGE_PX)
        panels.append(Panel(f'{camera.names[0]}  frame {record.frame}', view, labels, body=shown))
    if not panels:
        return np.zeros((IMAGE_PX, IMAGE_PX, 3), np.uint8)
    faces = torch.zeros(0, 3, dtype=torch.int64) if body is None else body.faces
    return OverlayPainter(faces).draw(panels, columns=min(len(panels), 4))


def ground_truth_page(
    name: str,
    figures: Mapping[str, SessionFigures],
    warnings: Sequence[str],
    images: Mapping[str, np.ndarray],
    unit: str | None,
    folder: Path,
) -> Report:
    """Make the page.

    Args:
        name: of the dataset.
        figures: by session.
        warnings: in words.
        images: session -> its samples.
    """
    verdict = f'{len(warnings)} warnings.' if warnings else 'Nothing speaks against the ground truth.'
    page = Report(f'Ground truth of {name}', [verdict, *warnings], folder)
    page.add_section('Sessions')
    page.add_table([_session_row(n, f, unit) for n, f in figures.items()])
    page.add_section('Cameras', 'Medians in px of original images.')
    page.add_table([_camera_row(n, c, f) for n, s in figures.items() for c, f in s.cameras.items()])
    page.add_section('Labels by keypoint')
    keypoints = list(dict.fromkeys(k for s in figures.values() for k in s.labels_by_keypoint))
    page.add_table(
        [{'keypoint': k} | {n: s.labels_by_keypoint.get(k, 0) for n, s in figures.items()} for k in keypoints]
    )
    page.add_section(
        'Samples',
        'Dots are labels; rings are the keypoints of known parameters (with the mesh), else the 3D points.',
    )
    page.add_images(list(images.values()), list(images))
    return page


def stack_samples(images: Sequence[np.ndarray]) -> UInt8[np.ndarray, 'H W 3']:
    """Put samples below each other."""
    return grid_of_views(images, columns=1)


def _session_row(name: str, figures: SessionFigures, unit: str | None) -> dict[str, object]:
    return {
        'session': name,
        'samples': figures.samples,
        'without image': figures.samples_without_view,
        f'animal, {unit or "units"}': _number(figures.extent),
        'with parameters': figures.params_known,
        'parameters to 3D points': _number(figures.params_to_point),
        'left/right pairs': figures.pairs_looked_at,
        'exchanged': figures.pairs_swapped,
        'shape against body': '' if figures.shape is None else f'{figures.shape.correlation:.2f}',
        'calibration': figures.calibration,
    }


def _camera_row(session: str, camera: str, figures: CameraFigures) -> dict[str, object]:
    return {
        'session': session,
        'camera': camera,
        'views': figures.views,
        'labels': figures.labels,
        'outside image': figures.labels_outside_image,
        'label to 3D point': _number(figures.label_to_point_px),
        '90 %': _number(figures.label_to_point_p90_px),
        'label to parameters': _number(figures.label_to_params_px),
        'animal': _number(figures.extent_px),
    }


def _number(value: float) -> str:
    return f'{value:.3g}' if math.isfinite(value) else ''
