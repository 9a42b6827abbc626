"""Cameras by name: a network that knows cameras must not mistake one for another."""

from collections.abc import Mapping, Sequence

from smilfit.registry import UnknownNameError, did_you_mean


def camera_indices(
    where: str, names: Sequence[str], known: Sequence[str], renamed: Mapping[str, str] | None = None
) -> tuple[int, ...]:
    """Find cameras of the data among those that a network knows.

    Args:
        where: begins the message.
        names: the data's cameras.
        known: the network's.
        renamed: `{'name in the data': 'name in the network'}`.

    Raises:
        UnknownNameError: a camera that the network does not know, with the near ones.
    """
    renamed = renamed or {}
    found = []
    for name in names:
        wanted = renamed.get(name, name)
        if wanted not in known:
            raise UnknownNameError(
                f'{where}: the network must know every camera; it knows {", ".join(known)}, not {wanted!r}. '
                f'{did_you_mean(wanted, known)} Name the one to use instead by cameras={{{name!r}: ...}}.'
            )
        found.append(list(known).index(wanted))
    return tuple(found)
