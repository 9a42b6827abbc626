"""From what the data loader gives to what the network takes."""

from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor

from smilfit.registry import MODELS


@MODELS.register_module()
class RegressorPreprocessor(BaseDataPreprocessor):
    """Move a batch to the model's device; images become RGB in [0, 1], real numbers float32."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Cast a batch."""
        return self._convert(self.cast_data(data))

    def _convert(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._convert(item) for key, item in value.items()}
        if not isinstance(value, torch.Tensor):
            return value
        if value.dtype == torch.uint8:
            # In place: a second copy of a batch of images costs more than all else here.
            return value.float().mul_(1 / 255)
        return value.float() if value.is_floating_point() else value
