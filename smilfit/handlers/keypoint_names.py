"""What the keypoints of an observation are called in a body model."""

from collections.abc import Sequence
from pathlib import Path

from smilfit.body_models import (
    BodyModelData,
    available_conventions,
    keypoint_definitions,
    load_convention,
)
from smilfit.body_models.keypoint_conventions import load_links
from smilfit.registry import UnknownNameError, did_you_mean

JOINTS = 'joints'


def convention_names(
    convention: str | Path, data: BodyModelData, where: str, count: int | None = None
) -> tuple[str, ...]:
    """Return the names of a keypoint convention as a model spells them; those that it lacks stay as they are.

    Args:
        convention: `'joints'`, a keypoint set of the model file, or a convention (see `load_convention`).
        data: the model.
        where: for messages.
        count: how many keypoints there are; decides where a set and a convention have one name.

    Raises:
        KeyError: none of these, with the near ones.
        ValueError: of another size.
    """
    table = keypoint_definitions(data)
    sizes = {}
    if convention == JOINTS:
        sizes[len(data.joint_names)] = data.joint_names
    if convention in data.keypoint_sets:
        # Where two sets give one name to two points, the plain name is not in the table.
        own = tuple(n if n in table else f'{convention}/{n}' for n in data.keypoint_sets[convention])
        sizes[len(own)] = own
    if str(convention).endswith('.json') or convention in available_conventions():
        result = load_convention(convention)
        shared, own_links = load_links(), load_links([result])
        spelt = {shared.point(name): name for name in table} | {name: name for name in table}
        names = tuple(spelt.get(own_links.point(n), n) for n in result.names)
        sizes.setdefault(len(names), names)
    if not sizes:
        options = [JOINTS, *data.keypoint_sets, *available_conventions()]
        raise UnknownNameError(
            f'{where}: {data.name} has no keypoint set {convention!r}. {did_you_mean(str(convention), options)} '
            'A convention of your own is given by the path of its .json file.'
        )
    if count is None:
        return next(iter(sizes.values()))
    if count not in sizes:
        raise ValueError(
            f'{where}: {convention!r} must have as many names as keypoints; got '
            f'{" or ".join(str(n) for n in sizes)} and {count}.'
        )
    return sizes[count]


def resolve_convention(
    convention: str | Path | Sequence[str], count: int, data: BodyModelData, where: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Turn a keypoint convention into the model's keypoint names.

    Args:
        convention: the names themselves, or what `convention_names` takes.
        count: how many keypoints there are.
        data: the model.
        where: for messages.

    Returns:
        A name for every keypoint, and those of them that the model does not have. Names that the caller spells out
        are all meant to be there: an unknown one is an error where the body is asked for it.

    Raises:
        KeyError: no such set or convention.
        ValueError: another number of names than keypoints, or none that the model has.
    """
    if isinstance(convention, (str, Path)):
        names = convention_names(convention, data, where, count)
        table = keypoint_definitions(data)
        unmatched = tuple(n for n in names if n not in table)
        if len(unmatched) == len(names):
            raise ValueError(
                f'{where}: {convention!r} must share a keypoint with {data.name}; got none of {list(names)[:20]}. '
                'Give the keypoints by the names of the model.'
            )
        return names, unmatched
    names = tuple(convention)
    if len(names) != count:
        raise ValueError(
            f'{where}: {names} must have as many names as keypoints; got {len(names)} and {count}.'
        )
    return names, ()
