"""Images that an annotation file names must lie in the folder of the images, links followed."""

from collections.abc import Iterable
from pathlib import Path


class Fence:
    """Says of many paths whether they lie in one of some folders; each folder on the way is looked up once.

    Args:
        folders: in which files may lie.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self._roots = tuple(folder.resolve() for folder in self.folders)
        self._known: dict[Path, bool] = {}

    def holds(self, path: Path) -> bool:
        """Whether a file lies inside; False of what is no path either (a zero byte, a loop of links)."""
        if '\0' in str(path):
            return False
        try:
            if path.name in ('', '..') or path.is_symlink():
                return self._inside(path.resolve())
            if path.parent not in self._known:
                self._known[path.parent] = self._inside(path.parent.resolve())
            return self._known[path.parent]
        except (OSError, ValueError, RuntimeError):
            return False

    def _inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)
