"""Pictures of what a model says of validation samples, while it is trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch.utils.data import default_collate

from smilfit.body_models import SMIL
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, posed
from smilfit.drawing.windows import enlarge
from smilfit.registry import HOOKS
from smilfit.structures import BodyParams, Cameras

# Crops are small: draw them larger, so that lines and letters can be seen.
CROP_PX = 320
# What training takes and a regressor predicts, one sample: `docs/architecture.md` says what they hold.
Sample = Mapping[str, Mapping[str, torch.Tensor]]
Predicted = Mapping[str, Any]


def prediction_images(model: Any, dataset: Any, count: int = 4) -> dict[str, np.ndarray]:
    """Draw the predicted body on all views of some samples, spread over the dataset; what was annotated is marked.

    Of a model that predicts no body its keypoints are drawn.

    Args:
        model: a regressor of the contract, on any device.
        dataset: samples of the contract.
        count: how many samples.

    Returns:
        Caption -> image, a row of views each.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int))
    samples = [dataset[int(i)] for i in rows]
    training = model.training
    model.eval()
    with torch.no_grad():
        batch = model.data_preprocessor(default_collate(samples))
        predictions = model(**batch, mode='predict')
    model.train(training)
    names = dataset.metainfo['camera_names']
    images = {}
    for sample, predicted in zip(samples, predictions):
        truth = sample['data_samples']
        place = f'session {int(truth["session"])}, frame {int(truth["frame"])}'
        images[place] = _draw(model.body_model, sample, predicted, names)
    return images


def _draw(body: SMIL, sample: Sample, predicted: Predicted, names: tuple[str, ...]) -> np.ndarray:
    inputs, truth = sample['inputs'], sample['data_samples']
    vertices = _vertices(body, predicted)
    if len(names) != len(inputs['view_mask']):
        # A sample of one of the views.
        names = (
            (names[int(truth['view'])],)
            if 'view' in truth
            else tuple(map(str, range(len(inputs['view_mask']))))
        )
    annotated = torch.where(truth['confidence2d'].unsqueeze(-1) > 0, truth['keypoints2d'], torch.nan)
    panels = []
    for c in np.flatnonzero(inputs['view_mask'].numpy()):
        K, R, t, size, dist = (inputs[k][c : c + 1].float() for k in ('K', 'R', 't', 'size', 'dist'))
        image = inputs['image'][c].permute(1, 2, 0).contiguous().numpy()
        view = enlarge(image, Cameras((names[c],), K, R, t, size, dist), CROP_PX)
        shown = ShownBody(vertices, predicted['keypoints2d'][c].double().numpy())
        panels.append(Panel(names[c], view, annotated[c].double().numpy(), body=shown))
    return OverlayPainter(body.faces).draw(panels, columns=len(panels))


def _vertices(body: SMIL, predicted: Predicted) -> torch.Tensor:
    """Pose the predicted body; without one its vertices are nowhere, and its mesh is left out."""
    if 'params' not in predicted:
        return torch.full((1, 3), torch.nan)
    params = BodyParams(**{k: v.unsqueeze(0) for k, v in predicted['params'].items()})
    ((vertices, _),) = posed(body, params)
    return vertices


@HOOKS.register_module()
class ValidationOverlayHook(Hook):
    """Draw the predicted body and keypoints of some validation samples beside what was annotated.

    The pictures go to the run's visualizer: `vis_data/vis_image` in its folder, and TensorBoard or Weights and Biases
    where these are configured. The same samples are drawn each time, so that they can be compared. Averaged weights
    are drawn where these are validated.

    Args:
        interval: draw at every n-th validation.
        count: how many samples, spread over the validation set; each is a row of its views.
    """

    # Before the hook of averaged weights takes them away again.
    priority = 'HIGH'

    def __init__(self, interval: int = 1, count: int = 4) -> None:
        for name, value in (('interval', interval), ('count', count)):
            if value < 1:
                raise ValueError(f'ValidationOverlayHook: {name} must be at least 1; got {value}.')
        self.interval, self.count, self.validations = interval, count, 0

    def after_val_epoch(self, runner: Runner, metrics: object = None) -> None:
        """Draw, in the first process."""
        self.validations += 1
        if runner.rank != 0 or (self.validations - 1) % self.interval:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        images = prediction_images(model, runner.val_dataloader.dataset, self.count)
        for number, image in enumerate(images.values()):
            runner.visualizer.add_image(f'validation_{number}', image, step=runner.iter)
