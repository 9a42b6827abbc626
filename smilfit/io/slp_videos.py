"""Where the videos and images are that SLEAP's labels name."""

from pathlib import Path, PurePosixPath, PureWindowsPath

# A path has fewer.
_MOST_PARTS = 100


def find_video_file(labels: Path, folder: Path | None, name: str) -> Path:
    """Find a file that another machine named: in the folder given, as it is written, or beside the labels."""
    written = PureWindowsPath(name) if '\\' in name or name[1:2] == ':' else PurePosixPath(name)
    if folder is not None:
        parts = [part for part in written.parts if part != '..']
        tails = (Path(*parts[-n:]) for n in range(min(len(parts), _MOST_PARTS), 0, -1))
        within = [folder / tail for tail in tails if not tail.is_absolute() and not tail.drive]
        return next((path for path in within if _is_file(path)), folder / written.name)
    candidates = (Path(name), labels.parent / written.name)
    return next((path for path in candidates if _is_file(path)), candidates[-1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that no file can have.
        return False
