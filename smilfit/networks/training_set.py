"""What a regressor gets of its training set: samples, the frame in which it thinks, and names."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypedDict

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.structures import ModelReference


class DataSamples(TypedDict, total=False):
    """What goes along with the images of B samples of C views: the truth, and which samples they are.

    `keypoints2d` are px of the crops. A row of `params` counts where `has_params` says so (of betas: `has_betas`), by
    `params_weight`; `centres2d` are of all animals of an image, which are all that it shows where `all_animals`.
    """

    keypoints2d: Float[Tensor, 'B C K 2']
    confidence2d: Float[Tensor, 'B C K']
    keypoints3d: Float[Tensor, 'B K 3']
    confidence3d: Float[Tensor, 'B K']
    params: dict[str, Tensor]
    has_params: Bool[Tensor, ' B']
    has_betas: Bool[Tensor, ' B']
    params_weight: Float[Tensor, ' B']
    mask: Float[Tensor, 'B C H W']
    has_mask: Bool[Tensor, 'B C']
    centres2d: Float[Tensor, 'B C A 2']
    centres_weight: Float[Tensor, 'B C A']
    all_animals: Bool[Tensor, 'B C']
    session: Int[Tensor, ' B']
    frame: Int[Tensor, ' B']
    view: Int[Tensor, ' B']
    dataset: Int[Tensor, ' B']


class SampleBatch(TypedDict):
    """B samples as a training set gives them; `inputs` may lack their images."""

    inputs: dict[str, Tensor]
    data_samples: DataSamples


@dataclass(frozen=True)
class DatasetNames:
    """Names and origin of a dataset: what a checkpoint must say to be used elsewhere."""

    keypoint_names: tuple[str, ...] = ()
    camera_names: tuple[str, ...] = ()
    unit: str | None = None
    body_model_file: str | None = None
    body_model_hash: str | None = None
    data_path: str | None = None
    # JSON, as in a body model file.
    landmarks: str | None = None
    session_names: tuple[str, ...] = field(default=())
    # How its images were cut out of the recordings' (`PreprocessOptions`); None where that is not known.
    crop_mode: str | None = None
    target_resolution: int | None = None
    undistorted: bool | None = None
    bbox_margin: float | None = None
    # Where the body model is found again.
    body_model: ModelReference | None = None

    def record(self) -> dict[str, object]:
        """Return all but the body model's places as plain values."""
        result = asdict(replace(self, body_model=None))
        del result['body_model']
        return result


class TrainingStatistics(nn.Module):
    """Numbers of a training set, kept as buffers and so in the checkpoint.

    Args:
        mean_position: mean position of the animal, world unit.
        scene_unit: its mean size, world unit; lengths inside the network are counted in it.
        mean_scale: mean of the parameter `scale`.
        mean_pose: mean rotation of each joint, where the set has parameters; else identities. The root's is
            the identity, for an animal turns.
        names: the dataset's names.
    """

    mean_position: Tensor
    scene_unit: Tensor
    mean_scale: Tensor
    mean_pose: Tensor

    def __init__(
        self,
        mean_position: Float[Tensor, '3'] | Sequence[float],
        scene_unit: float,
        mean_scale: float,
        mean_pose: Float[Tensor, 'J 3 3'],
        names: DatasetNames | None = None,
    ) -> None:
        super().__init__()
        for what, value in (('scene_unit', scene_unit), ('mean_scale', mean_scale)):
            if not 0 < value < float('inf'):
                raise ValueError(
                    f'TrainingStatistics: {what} must be positive and finite; got {value}. '
                    f'Check the training set: does it hold 3D keypoints or parameters?'
                )
        self.register_buffer('mean_position', torch.as_tensor(mean_position, dtype=torch.float32).clone())
        self.register_buffer('scene_unit', torch.tensor(float(scene_unit)))
        self.register_buffer('mean_scale', torch.tensor(float(mean_scale)))
        self.register_buffer('mean_pose', mean_pose.float().clone())
        self.names = names or DatasetNames()
        # Arrays, as nested lists, that an evaluation wants of the training set, such as its baselines.
        self.summaries: dict[str, object] = {}
        # Of confidences, as a validation found it; see `CalibrationHook`.
        self.calibration: dict[str, object] = {}

    @classmethod
    def neutral(cls, n_joints: int, names: DatasetNames | None = None) -> 'TrainingStatistics':
        """Make statistics that say nothing: origin, unit lengths, rest pose. A checkpoint overwrites them."""
        return cls(torch.zeros(3), 1.0, 1.0, torch.eye(3).expand(n_joints, 3, 3), names)
