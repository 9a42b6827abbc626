"""What a regressor sees and says: its body over the crops of a few test samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from smilfit.files import write_bytes
from smilfit.renderers import ZBufferRenderer
from smilfit.structures import BodyParams, Cameras
from smilfit.visualization import draw_keypoints, draw_label, draw_mesh, grid_of_views

FITTED_COLOUR = (120, 220, 255)
# Crops are small: draw them larger, so that lines and letters can be seen.
CROP_PX = 320


def prediction_pictures(model: Any, dataset: Any, count: int = 4) -> dict[str, np.ndarray]:
    """Draw the predicted body on all views of some samples, spread over the dataset.

    Args:
        model: a regressor of the contract, on any device.
        dataset: samples of the contract.
        count: how many samples.

    Returns:
        Caption -> picture, a row of views each.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    samples = [dataset[int(i)] for i in rows]
    model.eval()
    with torch.no_grad():
        batch = model.data_preprocessor(default_collate(samples))
        predictions = model(**batch, mode='predict')
    names = dataset.metainfo['camera_names']
    pictures = {}
    for sample, said in zip(samples, predictions):
        truth = sample['data_samples']
        place = f'session {int(truth["session"])}, frame {int(truth["frame"])}'
        pictures[f'{place}: predicted (open), annotated (filled)'] = _draw(
            model.body_model, sample, said, names
        )
    return pictures


def _draw(
    body: Any, sample: Mapping[str, Any], said: Mapping[str, Any], names: tuple[str, ...]
) -> np.ndarray:
    params = BodyParams(**{k: v.unsqueeze(0) for k, v in said['params'].items()}).to(body.v_template)
    with torch.no_grad():
        vertices = body(params, ('vertices',)).vertices[0].cpu()
    inputs, truth = sample['inputs'], sample['data_samples']
    tiles = []
    for c in np.flatnonzero(inputs['view_mask'].numpy()):
        one = {k: inputs[k][c : c + 1].float() for k in ('K', 'R', 't', 'size', 'dist')}
        camera = Cameras(names=(names[c],), **one)
        scale = CROP_PX / float(inputs['size'][c].max())
        affine = torch.tensor([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2]])
        size = (inputs['size'][c] * scale).round().float()
        picture = _enlarge(inputs['image'][c].permute(1, 2, 0).numpy(), size)
        camera = camera.transformed(affine[None], size[None])
        tile = draw_mesh(picture, vertices, body.faces.cpu(), camera, ZBufferRenderer())
        for points, seen, colour in (
            (said['keypoints2d'][c], torch.ones_like(truth['confidence2d'][c]), FITTED_COLOUR),
            (truth['keypoints2d'][c], truth['confidence2d'][c], None),
        ):
            xy = points.double().numpy() @ affine[:, :2].double().numpy().T + affine[:, 2].double().numpy()
            options = {} if colour is None else {'colour': colour, 'filled': False}
            tile = draw_keypoints(tile, xy, (seen > 0).numpy(), **options)
        tiles.append(draw_label(tile, names[c]))
    return grid_of_views(tiles, columns=len(tiles))


def _enlarge(picture: np.ndarray, size: torch.Tensor) -> np.ndarray:
    import cv2

    return cv2.resize(picture, tuple(int(x) for x in size), interpolation=cv2.INTER_LINEAR)


def write_picture(path: Path, picture: np.ndarray) -> Path:
    """Write an RGB picture as a PNG."""
    import cv2

    done, data = cv2.imencode('.png', picture[..., ::-1])
    if not done:
        raise RuntimeError(f'{path}: OpenCV could not encode a picture of shape {picture.shape}.')
    return write_bytes(path, data.tobytes())
