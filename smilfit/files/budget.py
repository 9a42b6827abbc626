"""What a file may ask for: declared sizes are held against the file's own and a limit before memory is taken."""

from pathlib import Path

from smilfit.files.errors import BadFileError, shorten

# What one array or table of a file may take.
MOST_ARRAY_BYTES = 1 << 30
# Deflate packs at most 1032 to 1; what claims more is no data.
MOST_COMPRESSION = 1040


def check_budget(where: str | Path, what: str, wanted: int, most: int, unit: str = 'bytes') -> int:
    """Check a declared size before anything is allocated for it.

    Args:
        where: the file.
        what: whose size it is.
        wanted: the declared size.
        most: the limit.
        unit: of both, for the message.

    Raises:
        BadFileError: a negative size, or one over the limit.
    """
    if not 0 <= wanted <= most:
        raise BadFileError(
            f'{where}: {what} must be at most {most} {unit}; got {shorten(wanted)}. The file is damaged, or made to '
            'fill the memory: make it anew, or in smaller pieces.'
        )
    return wanted
