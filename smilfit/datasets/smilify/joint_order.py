"""Labels on other joints: files of SMILify from before March 2026.

Its preprocessors then named a label by its node's number and took its numbers by the node's place in the skeleton, so
labels went to other joints, in 2D and 3D alike.
"""

from collections.abc import Mapping, Sequence


def mixed_lookup(
    lookup: Mapping[str, str], numbered: Sequence[str], in_skeleton: Sequence[str]
) -> dict[str, str]:
    """Undo the mix-up: model keypoint -> joint of the file whose column has that keypoint's labels.

    Args:
        lookup: model keypoint -> node that the file was made with.
        numbered: nodes by number.
        in_skeleton: nodes in the order of the labels.
    """
    place = {node: k for k, node in enumerate(numbered)}
    holds = {in_skeleton[place[node]]: joint for joint, node in lookup.items() if node in place}
    return {model: holds[node] for model, node in lookup.items() if node in holds}
