"""Pictures of what a model says of validation samples, while it is trained."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from smilfit.registry import HOOKS
from smilfit.visualization.prediction_overlays import prediction_images


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

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        """Draw, in the first process."""
        self.validations += 1
        if runner.rank != 0 or (self.validations - 1) % self.interval:
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        images = prediction_images(model, runner.val_dataloader.dataset, self.count)
        for number, image in enumerate(images.values()):
            runner.visualizer.add_image(f'validation_{number}', image, step=runner.iter)
