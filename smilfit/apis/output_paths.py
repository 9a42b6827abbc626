"""Look at where outputs go before any work is done."""

import os
from collections.abc import Iterable
from pathlib import Path

from smilfit.files import shorten


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
    """Check that files can be written into a folder that is there or can be made; as `check_output_file`."""
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f'{option}: must be a folder; {_shown(path)} is a file. Name a folder.')
    _check_parent(path, option, path)
    return path


def check_not_an_input(path: str | Path, inputs: Iterable[str | Path | None], option: str) -> None:
    """Refuse an output that would replace one of the command's inputs, or lie inside a folder of them.

    Args:
        path: the output.
        inputs: files and folders; None is skipped.
        option: who names the output, for the message.

    Raises:
        ValueError: it would.
    """
    target = Path(path).resolve()
    for item in inputs:
        if item is None:
            continue
        source = Path(item).resolve()
        same = target == source or (target.exists() and source.exists() and target.samefile(source))
        if same:
            raise ValueError(
                f'{option}: must not be one of the inputs; {_shown(Path(path))} is. It would be replaced: choose '
                'another name.'
            )
        if source.is_dir() and target.is_relative_to(source):
            raise ValueError(
                f'{option}: must not lie inside the inputs; {_shown(Path(path))} lies in {_shown(source)}. Choose '
                'another folder.'
            )


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
