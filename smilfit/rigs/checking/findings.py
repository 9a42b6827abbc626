"""What a check of a body model says, and how it names places in one."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.rigs.read_rig import listed

# Of an error the model gives wrong bodies or is refused; a warning is probably a fault; a note is worth knowing.
ERROR, WARNING, NOTE = 'error', 'warning', 'note'
SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        check: which check, by its name.
        severity: `error`, `warning` or `note`.
        where: the place in the model; empty where it is the whole of it.
        what: what is so, in words.
        advice: what to do, a sentence; empty where nothing needs to be done.
        count: how many places.
        figures: what was measured, by names with their units; lengths in the model's unit.
    """

    check: str
    severity: str
    where: str
    what: str
    advice: str = ''
    count: int = 1
    figures: Mapping[str, float] = field(default_factory=dict)

    def sentence(self) -> str:
        """Report it on one line."""
        where = f'; at {self.where}' if self.where else ''
        return ' '.join(filter(None, (f'{self.severity}: {self.check}: {self.what}{where}.', self.advice)))

    def record(self) -> dict[str, object]:
        """Return it as JSON has it."""
        return asdict(self)


def named_joints(data: BodyModelData, joints: Iterable[int]) -> str:
    """Name the first few of several joints, by their numbers, and how many more there are."""
    return listed([data.joint_names[j] for j in joints])


def counted(count: int, noun: str) -> str:
    """Return how many there are of something."""
    if count == 1:
        return f'1 {noun}'
    return f'{count} {"vertices" if noun == "vertex" else f"{noun}s"}'


def vertex_places(data: BodyModelData, vertices: np.ndarray) -> str:
    """Name vertices by their numbers, and by the joints that most of them hang on."""
    text = f'{"vertex" if len(vertices) == 1 else "vertices"} {listed(vertices.tolist())}'
    joints = Counter(data.joint_names[j] for j in strongest_joint(data)[vertices].tolist() if j >= 0)
    if not joints:
        return text
    most = listed([name for name, _ in joints.most_common()])
    return f'{text} (on {most})'


def strongest_joint(data: BodyModelData) -> np.ndarray:
    """Return the joint that each vertex (V,) hangs on most, -1 for one without weights."""
    weights, result = data.weights, np.full(data.n_vertices, -1)
    inside = (weights.rows < data.n_vertices) & (weights.cols < data.n_joints)
    order = np.argsort(weights.values[inside], kind='stable')
    result[weights.rows[inside][order]] = weights.cols[inside][order]
    return result


def share(length: float, size: float) -> str:
    """Report a length of the model, and what part of its size it is."""
    return f'{length:.3g}' + (f' ({100 * length / size:.2g} % of its size)' if size > 0 else '')
