"""Keypoints that an annotator clicked near a joint or on the skin, with what is not known of their place."""

from dataclasses import dataclass


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
