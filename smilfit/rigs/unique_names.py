"""Names that differ."""

from collections.abc import Sequence


def unique_names(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Give each name a number where another has it already; also the names that this made."""
    taken, found, made = set(names), [], []
    seen: set[str] = set()
    for name in names:
        new, k = name, 1
        while new in seen or (new != name and new in taken):
            k += 1
            new = f'{name}.{k}'
        seen.add(new)
        found.append(new)
        if new != name:
            made.append(new)
    return tuple(found), made
