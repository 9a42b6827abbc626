"""Where named keypoints come from: a joint, or a weighted few vertices."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models.data import BodyModelData, KeypointDefinition
from smilfit.registry import UnknownNameError, did_you_mean


def keypoint_definitions(data: BodyModelData) -> dict[str, KeypointDefinition]:
    """List every keypoint that a model can compute, by name.

    Joints come by their names. A keypoint of a set comes by its name and by `set/name`; a plain name that two
    sets define differently is left out and must be asked for as `set/name`.
    """
    table: dict[str, KeypointDefinition] = {}
    ambiguous = set()
    for set_name, definitions in data.keypoint_sets.items():
        for name, definition in definitions.items():
            if table.setdefault(name, definition) != definition:
                ambiguous.add(name)
            table[f'{set_name}/{name}'] = definition
    for name in ambiguous:
        del table[name]
    return table | {name: name for name in data.joint_names}


@dataclass(frozen=True)
class KeypointRows:
    """Tables that turn joints and a few vertices into keypoints, in the order asked for.

    `joints` are the joint indices; `vertices` the vertices needed; `mix` gives the vertex keypoints from those;
    `order` puts joints followed by vertex keypoints into the order of `names`.
    """

    names: tuple[str, ...]
    joints: Int[Tensor, ' Kj']
    vertices: Int[Tensor, ' n']
    mix: Float[Tensor, 'Kv n']
    order: Int[Tensor, 'K']

    @classmethod
    def find(cls, data: BodyModelData, names: Sequence[str]) -> 'KeypointRows':
        """Look names up in a model.

        Raises:
            KeyError: a name that is neither a joint nor in a keypoint set, with the near ones.
        """
        table = keypoint_definitions(data)
        for name in names:
            if name not in table:
                raise UnknownNameError(f'{data.name}: no keypoint {name!r}. {did_you_mean(name, table)}')
        of_joints = [i for i, n in enumerate(names) if isinstance(table[n], str)]
        of_vertices = [i for i in range(len(names)) if i not in set(of_joints)]
        vertices = sorted({v for i in of_vertices for v in table[names[i]]})
        mix = torch.zeros(len(of_vertices), len(vertices))
        for row, i in enumerate(of_vertices):
            for vertex, weight in table[names[i]].items():
                mix[row, vertices.index(vertex)] = weight
        joint_index = {n: j for j, n in enumerate(data.joint_names)}
        return cls(
            names=tuple(names),
            joints=torch.tensor([joint_index[table[names[i]]] for i in of_joints], dtype=torch.long),
            vertices=torch.tensor(vertices, dtype=torch.long),
            mix=mix,
            order=torch.tensor(of_joints + of_vertices, dtype=torch.long).argsort(),
        )

    def to(self, like: Tensor) -> 'KeypointRows':
        """Move to a tensor's device and float type."""
        return KeypointRows(
            self.names,
            self.joints.to(like.device),
            self.vertices.to(like.device),
            self.mix.to(like),
            self.order.to(like.device),
        )
