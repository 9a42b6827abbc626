"""Parts of the body whose sizes a fit may change: few, of both sides at once, and bounded.

A size s of a part lengthens every bone that goes out from one of its joints to `1 + s` times, and scales the skin
that hangs on its joints by as much about them; what hangs below is carried along. So mesh and skeleton stay together,
also in models whose joints no shape moves. The skin at rest and the joints at rest are linear in the sizes.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from smilfit.body_models.data import BodyModelData, PartSize
from smilfit.body_models.sides import names_of_other_side

# Parts that are found without being told.
MOST_PARTS = 8
# Joints of one side from which on a pair of limbs marks where the trunk reaches.
LIMB_JOINTS = 3
# Joints of a part that a message names.
MOST_JOINTS_TOLD = 3


def part_directions(
    parts: Mapping[str, PartSize], data: BodyModelData, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how joints (G, J, 3) and vertices (G, V, 3) at rest move a unit of each size, model unit.

    `dJ_j = dJ_parent + [parent in part] (J_j - J_parent)`, `dv = sum_j w_j (dJ_j + [j in part] (v - J_j))`, about the
    mean shape.

    Args:
        parts: by name.
        data: of the body.
        weights: (V, J), rows sum to 1.
    """
    joints, vertices = data.joints, data.v_template
    of_joints = np.zeros((len(parts), *joints.shape))
    of_skin = np.zeros((len(parts), *vertices.shape))
    for g, part in enumerate(parts.values()):
        inside = np.isin(data.joint_names, part.joints).astype(float)
        for j, parent in enumerate(data.parents.tolist()):
            if parent >= 0:
                of_joints[g, j] = of_joints[g, parent] + inside[parent] * (joints[j] - joints[parent])
        held = of_joints[g] - inside[:, None] * joints
        of_skin[g] = weights @ held + (weights @ inside)[:, None] * vertices
    return of_joints, of_skin


def default_part_sizes(data: BodyModelData) -> dict[str, PartSize]:
    """Find parts by the tree and by left and right: pairs of limbs, and what else hangs on the trunk (head, tail).

    The trunk is the root and the midline up to where limbs branch off; it is no part, since its size is the scale. A
    limb is what hangs on a pair of joints whose parent lies on the midline. Pairs of a single joint, such as ears,
    belong to what they hang on. Where that gives more than eight parts, limbs of equally many joints are one, and of
    those only the eight with the longest bones are kept.
    """
    tree = _Tree(data)
    result: dict[str, tuple[str, ...]] = {}
    for left, right in tree.limbs:
        if len(tree.below(left)) > 1 or tree.parent[left] in tree.trunk:
            result[_common_name(left, right)] = (*tree.below(left), *tree.below(right))
    limbs = set(result)
    used = {joint for joints in result.values() for joint in joints} | tree.trunk
    for name in data.joint_names:
        if name not in used and tree.parent[name] in tree.trunk:
            result[name] = tuple(n for n in tree.below(name) if n not in used)
    if len(result) > MOST_PARTS:
        result = _joined(result, limbs)
    length = {name: sum(tree.length_below(n) for n in joints) for name, joints in result.items()}
    kept = sorted(result, key=lambda name: -length[name])[:MOST_PARTS]
    return {name: PartSize(joints) for name, joints in result.items() if name in kept and length[name] > 0}


def midline_joints(data: BodyModelData) -> tuple[str, ...]:
    """Name the joints that lie on neither side, such as those of spine and tail; none where there are no sides."""
    tree = _Tree(data)
    return tuple(tree.midline) if tree.limbs else ()


def limb_pairs(data: BodyModelData) -> tuple[tuple[str, str], ...]:
    """Name the joints, left and right, by which limbs hang on the midline; none where there are no sides."""
    return tuple(_Tree(data).limbs)


def describe_parts(parts: Mapping[str, PartSize]) -> str:
    """Report in one line which joints belong to which part; of many, the first."""
    return '; '.join(f'{name} ({_few(part.joints)})' for name, part in parts.items()) or 'none'


def _few(joints: Sequence[str]) -> str:
    more = len(joints) - MOST_JOINTS_TOLD
    return ', '.join(joints) if more <= 1 else f'{", ".join(joints[:MOST_JOINTS_TOLD])} and {more} more'


def _joined(parts: Mapping[str, tuple[str, ...]], limbs: set[str]) -> dict[str, tuple[str, ...]]:
    """Join limbs of equally many joints."""
    joined: dict[str, tuple[str, ...]] = {}
    first: dict[int, str] = {}
    for name, joints in parts.items():
        where = first.setdefault(len(joints), name) if name in limbs else name
        joined[where] = joined.get(where, ()) + joints
    return joined


class _Tree:
    """The joints of a model by name, its limbs and its trunk."""

    def __init__(self, data: BodyModelData) -> None:
        self.names = data.joint_names
        self.parent = {n: self.names[p] if p >= 0 else '' for n, p in zip(self.names, data.parents.tolist())}
        self.place = dict(zip(self.names, data.joints))
        pairs = data.joint_symmetry or _pairs_by_name(self.names, self.parent)
        paired = {joint for pair in pairs for joint in pair}
        self.limbs = [pair for pair in pairs if self.parent[pair[0]] not in paired]
        self.midline = [n for n in self.names if n not in paired and not self._hangs_on(n, paired)]
        self.trunk = {self.names[0]}
        for left, _ in self.limbs:
            joint = self.parent[left]
            ends = not any(self.parent[n] == joint for n in self.midline)
            if len(self.below(left)) >= LIMB_JOINTS and not ends:
                while joint:
                    self.trunk.add(joint)
                    joint = self.parent[joint]

    def below(self, joint: str) -> tuple[str, ...]:
        """Name a joint and all that hang on it."""
        result = {joint}
        for name in self.names:
            if self.parent[name] in result:
                result.add(name)
        return tuple(n for n in self.names if n in result)

    def length_below(self, joint: str) -> float:
        """Return the length of the bones that go out from a joint."""
        return sum(
            float(np.linalg.norm(self.place[n] - self.place[joint]))
            for n in self.names
            if self.parent[n] == joint
        )

    def _hangs_on(self, joint: str, paired: set[str]) -> bool:
        while joint:
            if joint in paired:
                return True
            joint = self.parent[joint]
        return False


def _pairs_by_name(names: Sequence[str], parent: Mapping[str, str]) -> list[tuple[str, str]]:
    """Find left and right joints by their names, where the model says nothing of sides; both stand equally deep."""
    known, pairs = set(names), []
    depth = {'': 0}
    for name in names:
        depth[name] = depth[parent[name]] + 1
    for name in names:
        for twin in names_of_other_side(name, only_left=True):
            if twin in known and depth[twin] == depth[name]:
                pairs.append((name, twin))
                break
    return pairs


def _common_name(left: str, right: str) -> str:
    """Name a pair by what both names have in common."""
    words = (re.findall('[A-Za-z]+|[0-9]+', name) for name in (left, right))
    common = '_'.join(a for a, b in zip(*words) if a == b)
    return common if re.search('[A-Za-z]', common) else left
