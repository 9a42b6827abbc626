"""What a session of a dataset may be called: its name becomes that of folders."""

from smilfit.files import BadFileError, shorten

LONGEST_NAME = 200


def check_session_name(name: str, where: str) -> str:
    """Check that a session's name stays inside the folder that it is joined to, and give it back.

    Sequences of annotated images are called `<trial>/<camera>` or `<video>/<animal>`, so a name may have several
    parts; none may be empty, '.' or '..', so that no name is absolute or climbs.

    Args:
        name: of a session.
        where: the file, or who makes it, for the message.

    Raises:
        BadFileError: another name.
    """
    parts = name.split('/')
    fine = name.isprintable() and '\\' not in name and len(name) <= LONGEST_NAME and name[1:2] != ':'
    if not fine or any(part.strip() in ('', '.', '..') for part in parts):
        raise BadFileError(
            f'{where}: the name of a session must name a folder inside another (no empty part, no "." or "..", no '
            f'\\, drive or control character, at most {LONGEST_NAME} characters); got {shorten(name)!r}. Rename it '
            'and make the file anew.'
        )
    return name


def check_session_names(names: tuple[str, ...], where: str) -> None:
    """Check that each session's name serves as a folder's, and is there once.

    Raises:
        BadFileError: a name that does not, or two that are the same.
    """
    known = set()
    for name in names:
        if check_session_name(name, where) in known:
            raise BadFileError(
                f'{where}: the names of sessions must differ; got {shorten(name)!r} twice. Rename one of them and '
                'make the file anew.'
            )
        known.add(name)
