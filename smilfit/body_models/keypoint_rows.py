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
    sets define differently is left out and must be asked for as `set/name`. A landmark comes by its name, defined by
    its anchor; `data.landmarks` knows its offset. One of a joint's name is what is seen of that joint.
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
    table |= {name: mark.anchor for name, mark in data.landmarks.items()}
    return table | {name: name for name in data.joint_names}


@dataclass(frozen=True)
class KeypointRows:
    """Tables that turn joints and a few vertices into keypoints, in the order asked for.

    `joints` are the joint indices; `vertices` the vertices needed; `mix` gives the vertex keypoints from those;
    `order` puts joints followed by vertex keypoints into the order of `names`. Of these, landmarks stand at `marked`;
    each is moved by `offset` and row `unknown` of the landmark offsets (K: none) in the frame of `bone`.
    """

    names: tuple[str, ...]
    joints: Int[Tensor, ' Kj']
    vertices: Int[Tensor, ' n']
    mix: Float[Tensor, 'Kv n']
    order: Int[Tensor, 'K']
    marked: Int[Tensor, ' M']
    bone: Int[Tensor, ' M']
    offset: Float[Tensor, 'M 3']
    unknown: Int[Tensor, ' M']

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
        definitions = {i: table[name] for i, name in enumerate(names)}
        joints = {i: joint for i, joint in definitions.items() if isinstance(joint, str)}
        mixes = {i: mixed for i, mixed in definitions.items() if not isinstance(mixed, str)}
        vertices = sorted({v for mixed in mixes.values() for v in mixed})
        mix = torch.zeros(len(mixes), len(vertices))
        for row, mixed in enumerate(mixes.values()):
            for vertex, weight in mixed.items():
                mix[row, vertices.index(vertex)] = weight
        joint_index = {n: j for j, n in enumerate(data.joint_names)}
        marked = [i for i, name in enumerate(names) if name in data.landmarks]
        marks = [data.landmarks[names[i]] for i in marked]
        unknown = {name: k for k, name in enumerate(data.unknown_landmarks)}
        return cls(
            names=tuple(names),
            joints=torch.tensor([joint_index[joint] for joint in joints.values()], dtype=torch.long),
            vertices=torch.tensor(vertices, dtype=torch.long),
            mix=mix,
            order=torch.tensor([*joints, *mixes], dtype=torch.long).argsort(),
            marked=torch.tensor(marked, dtype=torch.long),
            bone=torch.tensor([joint_index[mark.bone] for mark in marks], dtype=torch.long),
            offset=torch.tensor([mark.offset for mark in marks], dtype=torch.float64).reshape(-1, 3),
            unknown=torch.tensor([unknown.get(names[i], len(unknown)) for i in marked], dtype=torch.long),
        )

    def offsets(self, landmark_offsets: Float[Tensor, 'B U 3'] | None) -> Float[Tensor, '_ M 3']:
        """Return the landmarks' offsets, found ones added, model unit (batch 1 where none are given)."""
        if landmark_offsets is None:
            return self.offset.unsqueeze(0)
        padded = torch.nn.functional.pad(landmark_offsets, (0, 0, 0, 1))
        return self.offset + padded.index_select(1, self.unknown)

    def to(self, like: Tensor) -> 'KeypointRows':
        """Move to a tensor's device and float type."""
        return KeypointRows(
            self.names,
            self.joints.to(like.device),
            self.vertices.to(like.device),
            self.mix.to(like),
            self.order.to(like.device),
            self.marked.to(like.device),
            self.bone.to(like.device),
            self.offset.to(like),
            self.unknown.to(like.device),
        )
