"""Which checkpoint a run goes on from."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from smilfit.files import BadFileError, shorten
from smilfit.networks.engine.checkpoint_loader import read_checkpoint, smilfit_entry

logger = logging.getLogger('smilfit')

# The file in which mmengine names the newest checkpoint.
LAST = 'last_checkpoint'
_NUMBERED = re.compile(r'(?:epoch|iter)_(\d{1,12})\.pth')
_LONGEST_NAME = 4096


def latest_whole_checkpoint(work_dir: str | Path, out_dir: str | Path | None = None) -> Path:
    """Find the newest checkpoint of a work dir that can be read; one that cannot is skipped and named.

    The file that `last_checkpoint` names comes first, then the others by number. A work dir that was moved is found
    too: only the name of the file counts.

    Args:
        work_dir: of the run.
        out_dir: where the config has checkpoints written, if elsewhere.

    Raises:
        FileNotFoundError: no checkpoint at all.
        BadFileError: none that can be read.
    """
    skipped = []
    for path in _candidates(Path(work_dir), out_dir):
        try:
            smilfit_entry(path, read_checkpoint(path))
        except BadFileError as error:
            skipped.append(error)
            continue
        for error in skipped:
            logger.warning('--resume: skipped. %s', error)
        if skipped:
            logger.warning('--resume: goes on from %s.', path)
        return path
    if skipped:
        raise skipped[0]
    raise FileNotFoundError(
        f'--resume: {work_dir} must hold a checkpoint; it holds none. '
        f'Give the checkpoint, or leave --resume out to begin anew.'
    )


def _candidates(work_dir: Path, out_dir: str | Path | None) -> Iterator[Path]:
    folders = [work_dir] if out_dir is None else [Path(out_dir) / work_dir.name, work_dir]
    named = _named(work_dir)
    first = [folder / named for folder in folders if named and (folder / named).is_file()]
    if named and not first:
        logger.warning(
            '--resume: %s names %s, which is not in %s; the newest one there is taken.',
            work_dir / LAST, shorten(named), folders[0],
        )  # fmt: skip
    numbered = [
        (int(match[1]), path)
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if (match := _NUMBERED.fullmatch(path.name))
    ]
    yield from first
    yield from (path for _, path in sorted(numbered, reverse=True) if path not in first)


def _named(work_dir: Path) -> str | None:
    """Return the name, without its folder, that `last_checkpoint` holds."""
    note = work_dir / LAST
    if not note.is_file():
        return None
    with note.open('rb') as file:
        text = file.read(_LONGEST_NAME).decode('utf-8', 'replace').strip()
    name = text.replace('\\', '/').rsplit('/', 1)[-1]
    if not name or '\0' in name or name in ('.', '..'):
        logger.warning('--resume: %s is damaged; the newest checkpoint is looked for.', note)
        return None
    return name
