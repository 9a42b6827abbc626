"""Look at where outputs go before any work is done."""

import os
from collections.abc import Iterable
from pathlib import Path

from smilfit.files import check_tree, shorten


def check_output_file(path: str | Path, option: str) -> Path:
    """Check that a file can be written there: no folder, in a folder that is there or can be made.

    Args:
        path: the file to be.
        option: who names it, for the message.

    Raises:
        OSError: it cannot.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f'{option}: must be a file; {_shown(path)} is a folder. Name a file in it.')
    if not path.name:
        raise IsADirectoryError(f'{option}: must be a file; got {_shown(path)!r}. Name a file.')
    _check_parent(path.parent, option, path)
    return path


def check_output_folder(path: str | Path, option: str) -> Path:
    """Check that files can be written into a folder that is there or can be made; as `check_output_file`.

    Raises:
        OSError: they cannot.
        LinkedOutputError: in it a link leads to a folder elsewhere, or to nothing.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f'{option}: must be a folder; {_shown(path)} is a file. Name a folder.')
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(
            f'{option}: must be a folder; {_shown(path)} is a link to nothing. Name another one.'
        )
    _check_parent(path, option, path)
    check_tree(path)
    return path


def check_not_an_input(
    path: str | Path, inputs: Iterable[str | Path | None], option: str, inside: bool = False
) -> None:
    """Refuse an output that would replace one of the command's inputs, or lie inside a folder of them.

    Links are followed, and what the system takes for one file or folder is one, whatever it is called.

    Args:
        path: the output.
        inputs: files and folders; None is skipped.
        option: who names the output, for the message.
        inside: it may lie inside a folder of the inputs, where nobody takes it for one of them.

    Raises:
        ValueError: it would.
    """
    target = Path(os.path.realpath(path))
    for item in inputs:
        if item is None:
            continue
        source = Path(os.path.realpath(item))
        if _is_same(target, source):
            raise ValueError(
                f'{option}: must not be one of the inputs; {_shown(Path(path))} is. It would be replaced: choose '
                'another name.'
            )
        if not inside and source.is_dir() and any(_is_same(parent, source) for parent in target.parents):
            raise ValueError(
                f'{option}: must not lie inside the inputs; {_shown(Path(path))} lies in {_shown(source)}. Choose '
                'another folder.'
            )


def _is_same(a: Path, b: Path) -> bool:
    """Compare by what the system says, where both are there: names may differ in case, or by a mount."""
    try:
        return a == b or a.samefile(b)
    except OSError:
        return False


def _check_parent(folder: Path, option: str, path: Path) -> None:
    for existing in (folder, *folder.parents):
        if not existing.exists():
            continue
        if not existing.is_dir():
            raise NotADirectoryError(
                f'{option}: {_shown(path)} must lie in a folder; {_shown(existing)} is a file. Choose another place.'
            )
        if not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(
                f'{option}: the folder must be writable; {_shown(existing)} is not. Choose another, or change its '
                'permissions.'
            )
        return


def _shown(path: Path) -> str:
    return shorten(str(path), 300)
