"""A rig as its file has it: the one form between the readers of all formats and the body model made of it."""

from dataclasses import dataclass, field

import numpy as np

from smilfit.body_models.data import SparseMatrix


@dataclass(frozen=True)
class Clip:
    """A motion that came with a rig, at its own key times.

    `joints` are the joints' transforms in the world of the rig (T, J, 4, 4); `morph_weights` are (T, M), of the rig's
    morph targets in their order.
    """

    name: str
    times_s: np.ndarray  # (T,)
    joints: np.ndarray  # (T, J, 4, 4)
    morph_weights: np.ndarray | None = None  # (T, M)


@dataclass(frozen=True)
class Site:
    """A named point that hangs on a joint: `offset` in the rig's world axes at rest, from the joint.

    `sd` is how far it may be from there, in any direction; 0 where it is known.
    """

    joint: str
    offset: np.ndarray  # (3,)
    sd: float = 0.0


@dataclass(frozen=True)
class Rig:
    """A skinned mesh and its skeleton at rest, in the file's own unit and axes; nothing is cleaned yet.

    Joints stand parents first; several may be roots (`parents` -1). `rest` are the joints' world transforms in the
    pose in which the skin was bound. `axes` are each joint's own axes as columns, in the rig's world at rest (what
    hinges turn about); `limits_rad` are the least and greatest axis-angle components in these axes. Where
    `joint_regressor` is given, shape moves joints as it says. `notes` say in words what the reader left out or did.
    """

    name: str
    vertices: np.ndarray  # (V, 3) at rest
    faces: np.ndarray  # (F, 3)
    joint_names: tuple[str, ...]
    parents: np.ndarray  # (J,)
    rest: np.ndarray  # (J, 4, 4)
    weights: SparseMatrix  # (V, J) as in the file: may not sum to one
    morphs: dict[str, np.ndarray] = field(default_factory=dict)  # name -> (V, 3) displacement at weight 1
    axes: np.ndarray | None = None  # (J, 3, 3)
    limits_rad: np.ndarray | None = None  # (J, 3, 2)
    joint_regressor: SparseMatrix | None = None  # (J, V)
    sites: dict[str, Site] = field(default_factory=dict)
    clips: tuple[Clip, ...] = ()
    texture: bytes | None = None  # PNG or JPEG of the base colour
    uv: np.ndarray | None = None  # (V, 2), origin at the texture's upper left
    unit: str | None = None  # as the file or its format says
    up_axis: str | None = None
    forward_axis: str | None = None
    licence: str | None = None
    notes: tuple[str, ...] = ()
