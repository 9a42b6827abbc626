"""What a regressor sees and says: its body over the crops of a few test samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from smilfit.files import write_bytes
from smilfit.structures import BodyParams, Cameras
from smilfit.visualization import OverlayPainter, Panel, ShownBody, enlarge

# Crops are small: draw them larger, so that lines and letters can be seen.
CROP_PX = 320


def prediction_images(model: Any, dataset: Any, count: int = 4) -> dict[str, np.ndarray]:
    """Draw the predicted body on all views of some samples, spread over the dataset.

    Args:
        model: a regressor of the contract, on any device.
        dataset: samples of the contract.
        count: how many samples.

    Returns:
        Caption -> image, a row of views each.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    samples = [dataset[int(i)] for i in rows]
    model.eval()
    with torch.no_grad():
        batch = model.data_preprocessor(default_collate(samples))
        predictions = model(**batch, mode='predict')
    names = dataset.metainfo['camera_names']
    images = {}
    for sample, predicted in zip(samples, predictions):
        truth = sample['data_samples']
        place = f'session {int(truth["session"])}, frame {int(truth["frame"])}'
        images[place] = _draw(model.body_model, sample, predicted, names)
    return images


def _draw(
    body: Any, sample: Mapping[str, Any], predicted: Mapping[str, Any], names: tuple[str, ...]
) -> np.ndarray:
    params = BodyParams(**{k: v.unsqueeze(0) for k, v in predicted['params'].items()}).to(body.v_template)
    with torch.no_grad():
        vertices = body(params, ('vertices',)).vertices[0].cpu()
    inputs, truth = sample['inputs'], sample['data_samples']
    annotated = torch.where(truth['confidence2d'].unsqueeze(-1) > 0, truth['keypoints2d'], torch.nan)
    panels = []
    for c in np.flatnonzero(inputs['view_mask'].numpy()):
        one = {k: inputs[k][c : c + 1].float() for k in ('K', 'R', 't', 'size', 'dist')}
        image = inputs['image'][c].permute(1, 2, 0).contiguous().numpy()
        view = enlarge(image, Cameras(names=(names[c],), **one), CROP_PX)
        shown = ShownBody(vertices, predicted['keypoints2d'][c].double().numpy())
        panels.append(Panel(names[c], view, annotated[c].double().numpy(), body=shown))
    return OverlayPainter(body.faces).draw(panels, columns=len(panels))


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write an RGB image as a PNG."""
    import cv2

    done, data = cv2.imencode('.png', image[..., ::-1])
    if not done:
        raise RuntimeError(f'{path}: OpenCV could not encode an image of shape {image.shape}.')
    return write_bytes(path, data.tobytes())
