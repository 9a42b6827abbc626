"""Keypoints that an annotator clicked near a joint or on the skin, with what is not known of their place."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Landmark:
    """A keypoint at an anchor of the body, moved by an offset in a bone's frame.

    Its place in the world is `anchor + scale * R_bone (offset + unknown)`. The unknown part is found with the fit: it
    is a row of the parameter `landmark_offsets`, one for each landmark whose `sd` is positive, in the model's order.

    Args:
        anchor: a joint's name, or vertices and their weights, which sum to 1.
        bone: the joint in whose frame the offset is given.
        offset: where it is expected, model unit.
        sd: standard deviation of the unknown part a direction, model unit; 0 where the offset is known.
    """

    anchor: str | dict[int, float]
    bone: str
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sd: float = 0.0

    def record(self) -> dict[str, Any]:
        """Return it as JSON has it, which `smil_json_parts.landmarks` reads."""
        return {
            'anchor': keypoint_record(self.anchor),
            'bone': self.bone,
            'offset': [float(x) for x in self.offset],
            'sd': float(self.sd),
        }


def keypoint_record(definition: str | dict[int, float]) -> Any:
    """Return a joint's name, or vertices and their weights, as JSON has them."""
    if isinstance(definition, str):
        return definition
    return {'vertices': list(definition), 'weights': list(definition.values())}
