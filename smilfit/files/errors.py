"""What is wrong with a file, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 120


class BadFileError(ValueError):
    """A file breaks a rule, or is not whole. The message names it, the rule, what was found and what to do."""


class OverBudgetError(BadFileError):
    """Reading a file would take more than it may; with whatever it references, it is the file that was given."""


def shorten(value: object, most: int = LONGEST) -> str:
    """Show a value of a file in a message: text cut in the middle, of anything else the kind.

    The representation of a container from a hostile file may be endless; it is never made.

    Args:
        value: text, a number, an exception, or anything.
        most: characters to show.
    """
    if isinstance(value, BaseException):
        message = value.args[0] if len(value.args) == 1 and isinstance(value.args[0], str) else str(value)
        return shorten(' '.join(message[: 20 * most].split()) or type(value).__name__, most)
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() < 256 else f'an integer of {value.bit_length()} bits'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        text = value if len(value) <= most else f'{value[: most // 2]} … {value[-most // 3 :]}'
        return ''.join(c if c.isprintable() else '?' for c in text)
    if isinstance(value, (list, tuple, dict, set, frozenset, bytes)):
        return f'{type(value).__name__} of {len(value)}'
    return type(value).__name__


ADVICE = 'The file is damaged or of another kind: copy it again, or make it anew.'


@contextmanager
def reading(path: str | Path, what: str = 'the file', advice: str = ADVICE) -> Iterator[None]:
    """Read a file inside this context: what fails there is an error that names the file.

    Errors whose message begins with the path are passed on, so that contexts may nest and exact messages stay. A
    missing optional package, or a name that our own code lacks, is no fault of the file. What an account refuses
    names the file that a person gave.

    Args:
        path: the file.
        what: what it should be, for the message, such as 'a COCO annotation file'.
        advice: what to do, as a sentence.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read (its kind is kept).
        BadFileError: anything else that went wrong: malformed, cut short, too deep, too large.
    """
    try:
        yield
    except (ImportError, NameError, OverBudgetError):
        raise
    except OSError as error:
        if names(error, path):
            raise
        if isinstance(error, FileNotFoundError) and not Path(path).exists():
            raise FileNotFoundError(f'{path}: {what} must be there; it is not. Check the path.') from error
        # An error of the system has a number; a decoder's own is about what the file holds.
        kind = type(error) if error.errno is not None else BadFileError
        raise kind(_sentence(path, what, advice, error)) from error
    except Exception as error:  # The file chose what happened here: no kind of error can be left out.
        if isinstance(error, (ValueError, KeyError)) and names(error, path):
            raise
        raise BadFileError(_sentence(path, what, advice, error)) from error


def names(error: BaseException, path: str | Path) -> bool:
    """Check whether an error's message begins with the file's name already."""
    message = error.args[0] if error.args else ''
    return isinstance(message, str) and message.startswith(f'{path}')


def _sentence(path: str | Path, what: str, advice: str, error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return f'{path}: {what} must fit into memory; it asks for more. {advice}'
    if isinstance(error, RecursionError):
        return f'{path}: {what} must not be nested so deeply. {advice}'
    reason = shorten(error).rstrip('.')
    if isinstance(error, (ValueError, OSError, KeyError)):
        reason = f'missing {reason}' if type(error) is KeyError else reason
    else:
        reason = f'{type(error).__name__}: {reason}'
    return f'{path}: {what} must be whole and well-formed; got {reason}. {advice}'
