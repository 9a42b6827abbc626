"""Near names: an error that knows what was meant says so."""

import difflib
from collections.abc import Iterable


class UnknownNameError(KeyError):
    """A name that nobody knows. Unlike a plain KeyError it prints its message as it was written."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


def did_you_mean(name: str, options: Iterable[str], most: int = 3) -> str:
    """Return which of the options are near to a name, as the end of an error message.

    Returns a sentence: the near names if there are any, else all options (up to 20 of them).
    """
    options = [str(option) for option in options]
    lowered = {option.lower(): option for option in options}
    near = [lowered[key] for key in difflib.get_close_matches(name.lower(), lowered, n=most, cutoff=0.6)]
    if near:
        return f'Did you mean {" or ".join(repr(n) for n in near)}?'
    if not options:
        return 'There is nothing to choose from.'
    listed = ', '.join(sorted(options)[:20])
    return f'Known: {listed}{", …" if len(options) > 20 else ""}.'


def reject_unknown(where: str, thing: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a KeyError that names the first unknown key and its near names.

    Args:
        where: what is being read, for the message.
        thing: what one key is called, e.g. 'stage key'.
        given: the keys that a user gave.
        known: the keys that are understood.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise UnknownNameError(f'{where}: unknown {thing} {key!r}. {did_you_mean(key, known)}')
