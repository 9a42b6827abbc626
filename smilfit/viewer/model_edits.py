"""What a person changes of a body model on its page: limits and keypoints. Knows no browser."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilfit.body_models import BodyModelData, check_body_model, save_body_model
from smilfit.body_models.data import KeypointDefinition
from smilfit.body_models.default_limits import default_joint_limits
from smilfit.body_models.limit_origin import DEFAULT, FILE, USER
from smilfit.files import shorten
from smilfit.files.names import LONGEST_NAME, folder_name
from smilfit.registry import did_you_mean
from smilfit.rigs.checking.joint_limits import mirrored_limits
from smilfit.rigs.checking.mirror import joint_pairs, mirror_axis

# The keypoint set that added keypoints belong to.
ADDED = 'added'
ENDING = '.smil.json'
# Leaves room for `_edited_2` and the ending in a name.
_LONGEST_STEM = 70


class ModelEdits:
    """A body model and what was changed of it; every change gives a model that keeps the rules.

    Args:
        data: the model as it was opened.
    """

    def __init__(self, data: BodyModelData) -> None:
        self.opened = self.data = data

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return self.data is not self.opened

    def limits(self, joint: str) -> Float[np.ndarray, '3 2']:
        """Give a joint's least and greatest angles, rad; those that fits take where the model states none."""
        stated = self.data.joint_limits
        limits = default_joint_limits(self.data) if stated is None else stated
        return limits[self._joint(joint)]

    def set_limits(
        self, joint: str, limits: Float[np.ndarray, '3 2'], other_side: bool = False
    ) -> tuple[str, ...]:
        """Set a joint's limits; other joints of a model that states none get those that fits take.

        Args:
            joint: its name.
            limits: least and greatest angles, rad.
            other_side: set the mirrored limits of the joint on the other side too.

        Returns:
            The joints that were changed.

        Raises:
            KeyError: no such joint.
            ValueError: a least angle above the greatest.
        """
        limits = np.asarray(limits, float)
        if (limits[:, 0] > limits[:, 1]).any():
            raise ValueError(
                f'{joint}: limits must have least <= greatest; got {np.degrees(limits).round(1).tolist()} degrees. '
                'Swap them.'
            )
        stated = self.data.joint_limits
        every = (default_joint_limits(self.data) if stated is None else stated).copy()
        number = self._joint(joint)
        every[number], changed = limits, [joint]
        pairs = joint_pairs(self.data)
        other = next((b if a == number else a for a, b in pairs if number in (a, b)), None)
        axis = mirror_axis(self.data, pairs)
        if other_side and other is not None and axis is not None:
            image = mirrored_limits(self.data, limits, (number, other), axis)
            if image is None:
                raise ValueError(
                    f'{joint}: limits must be along mirrored axes on both sides to be set together; they are not. '
                    'Set the other side by itself.'
                )
            every[other] = image
            changed.append(self.data.joint_names[other])
        self._take(replace(self.data, joint_limits=every, joint_limits_from=self._origins(changed)))
        return tuple(changed)

    def _origins(self, changed: list[str]) -> tuple[str, ...]:
        """Say whence limits are after a user changed those of some joints."""
        rest = DEFAULT if self.data.joint_limits is None else FILE
        before = self.data.joint_limits_from or (rest,) * self.data.n_joints
        return tuple(USER if n in changed else origin for n, origin in zip(self.data.joint_names, before))

    def add_keypoint(self, name: str, definition: KeypointDefinition) -> None:
        """Add a keypoint, or move one that was added.

        Args:
            name: one that no joint and no other keypoint has.
            definition: a joint's name, or vertices and their weights.

        Raises:
            ValueError: no name, a name that is taken, or a joint or vertex that is not there.
        """
        name = name.strip()
        if not name:
            raise ValueError('a keypoint must have a name; got none. Write one into the field.')
        taken = {n for key, points in self.data.keypoint_sets.items() if key != ADDED for n in points}
        if name in taken or name in self.data.joint_names or name in self.data.landmarks:
            raise ValueError(f'a keypoint must have a name of its own; {name!r} is taken. Choose another.')
        added = {**self.data.keypoint_sets.get(ADDED, {}), name: definition}
        self._take(replace(self.data, keypoint_sets={**self.data.keypoint_sets, ADDED: added}))

    def remove_keypoint(self, name: str) -> None:
        """Take a keypoint out that was added.

        Raises:
            KeyError: none of that name was added.
        """
        added = dict(self.data.keypoint_sets.get(ADDED, {}))
        if name not in added:
            raise KeyError(f'no keypoint {name!r} was added. {did_you_mean(name, added)}')
        del added[name]
        sets = {key: points for key, points in self.data.keypoint_sets.items() if key != ADDED}
        self._take(replace(self.data, keypoint_sets={**sets, ADDED: added} if added else sets))

    def save(self, path: str | Path) -> Path:
        """Write the changed model to a new file.

        Raises:
            FileExistsError: there is such a file, or a link of that name.
            ValueError: another ending than `.smil.json`.
        """
        path = Path(path)
        if os.path.lexists(path):
            raise FileExistsError(f'{path}: the new file must not be there yet; it is. Give another name.')
        return save_body_model(self.data, path)

    def _joint(self, name: str) -> int:
        names = self.data.joint_names
        if name not in names:
            raise KeyError(f'no joint {name!r}. {did_you_mean(name, names)}')
        return names.index(name)

    def _take(self, data: BodyModelData) -> None:
        self.data = check_body_model(data, data.name)


def free_name(path: Path) -> Path:
    """Give a name for a changed model, in the same folder, that no file has yet."""
    stem = folder_name(path.name.removesuffix(ENDING).removesuffix(path.suffix)[:_LONGEST_STEM])
    number, found = 1, path.with_name(f'{stem}_edited{ENDING}')
    while os.path.lexists(found):
        number += 1
        found = path.with_name(f'{stem}_edited_{number}{ENDING}')
    return found


def beside(path: Path, name: str) -> Path:
    """Give the path of a new file beside a model, for a name from a page.

    Args:
        path: the model's file.
        name: of the new file, without folders.

    Raises:
        ValueError: a name with a folder, a drive, a control character, a leading dot or the like, or with another
            ending than `.smil.json`.
        FileExistsError: there is such a file, or a link of that name.
    """
    name = name.strip()
    if folder_name(name) != name:
        raise ValueError(
            f'file: it must be a plain name (letters, figures, spaces and - _ . + , = @ ( ), no folders, no dot in '
            f'front, at most {LONGEST_NAME} characters); got {shorten(name)!r}. It is saved in '
            f'{path.parent.resolve()}.'
        )
    if not name.endswith(ENDING) or name == ENDING:
        raise ValueError(
            f'file: the name must end in {ENDING}; got {name!r}. Write {name.split(".")[0]}{ENDING}.'
        )
    found = path.with_name(name)
    if os.path.lexists(found):
        raise FileExistsError(f'{name}: the new file must not be there yet; it is. Give another name.')
    return found


def picked_point(
    vertices: Float[np.ndarray, 'V 3'],
    faces: Int[np.ndarray, 'F 3'],
    origin: Float[np.ndarray, '3'],
    direction: Float[np.ndarray, '3'],
) -> dict[int, float] | None:
    """Give the vertices and weights of the first point of a surface that a ray meets; None where it meets none.

    Moeller and Trumbore, Fast, minimum storage ray/triangle intersection, 1997.
    """
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    a, b = second - first, third - first
    p = np.cross(direction, b)
    det = (a * p).sum(1)
    seen = np.abs(det) > 1e-12 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    inverse = np.divide(1.0, det, out=np.zeros_like(det), where=seen)
    from_first = origin - first
    q = np.cross(from_first, a)
    u, v = (from_first * p).sum(1) * inverse, (q @ direction) * inverse
    along = (q * b).sum(1) * inverse
    hit = np.flatnonzero(seen & (u >= 0) & (v >= 0) & (u + v <= 1) & (along > 0))
    if not len(hit):
        return None
    face = hit[along[hit].argmin()]
    shares = (1 - u[face] - v[face], u[face], v[face])
    return {int(vertex): float(share) for vertex, share in zip(faces[face], shares)}
