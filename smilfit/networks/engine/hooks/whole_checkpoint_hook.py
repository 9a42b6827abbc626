"""Checkpoints appear whole or not at all: how mmengine writes a file, and when it deletes old ones."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from mmengine.dist import is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from smilfit.files import is_alone, write_bytes, write_text
from smilfit.networks.engine.checkpoint_loader import LAST
from smilfit.registry import HOOKS

logger = logging.getLogger('smilfit')


class WholeFileBackend(LocalBackend):
    """mmengine's writer of local files; a file takes its name only when all of it is on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            DiskFullError: no room; what had the name before is still there.
        """
        write_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write a text; as `put`."""
        write_bytes(filepath, obj.encode(encoding))


def install_whole_files() -> None:
    """Make mmengine write local files by `WholeFileBackend`; a second call changes nothing."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's hook, with its arguments; old checkpoints go only when the new one is on the disk.

    A run takes it wherever its config says `CheckpointHook`.

    Raises:
        ValueError: `save_best` is a loss, which a curriculum gives another meaning.
    """

    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]
    file_backend: BaseStorageBackend

    def __init__(self, *args: object, save_best: str | list[str] | None = None, **kwargs: object) -> None:
        for figure in [save_best] if isinstance(save_best, str) else save_best or ():
            if 'loss' in figure:
                raise ValueError(
                    f'CheckpointHook: save_best must be a figure that no loss weight changes; got {figure!r}. Use '
                    f'pck_auc_original with rule=greater.'
                )
        super().__init__(*args, save_best=save_best, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Note where a resumed run goes on from: the note may have been cut when the run before was stopped."""
        self._distrust(runner)
        super().before_train(runner)
        self._keep_inside()
        result = Path(runner._load_from or '')
        if (
            runner._resume
            and is_main_process()
            and result.parent.resolve() == Path(runner.work_dir).resolve()
        ):
            write_text(Path(runner.work_dir) / LAST, str(result))

    def _distrust(self, runner: Runner) -> None:
        """Forget old checkpoints that a resumed one names by anything but a number: they are deleted in time."""
        ids = runner.message_hub.runtime_info.get('keep_ckpt_ids', [])
        if not isinstance(ids, list) or any(type(number) is not int for number in ids):
            logger.warning('The checkpoint names others by what is no number; these are kept.')
            runner.message_hub.update_info('keep_ckpt_ids', [])

    def _keep_inside(self) -> None:
        """Take the best checkpoint of a resumed run for one of this work dir: the next best one replaces it."""
        if getattr(self, 'best_ckpt_path', None) is not None:
            self.best_ckpt_path = self._own(self.best_ckpt_path)
        for key, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[key] = None if path is None else self._own(path)

    def _own(self, path: object) -> str | None:
        own = Path(self.out_dir, PurePath(str(path).replace('\\', '/')).name)
        return str(own) if own.suffix == '.pth' and own.is_file() else None

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, object]) -> None:
        runner.call_hook('before_any_save')
        note = Path(runner.work_dir) / LAST
        if is_main_process() and not is_alone(note):
            # mmengine writes it in place.
            note.unlink(missing_ok=True)
        with self._deleting_last():
            super()._save_checkpoint_with_step(runner, step, meta)
            if is_main_process():
                # Written once more, as a whole; readers take an unfinished one for none.
                write_text(Path(runner.work_dir) / LAST, str(self.last_ckpt))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, object]) -> None:
        runner.call_hook('before_any_save')
        with self._deleting_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _deleting_last(self) -> Iterator[None]:
        """Put off what is deleted inside the context to its end; after an error nothing is deleted."""
        backend = self.file_backend
        if isinstance(backend, _LateDeletions):
            yield
            return
        self.file_backend = _LateDeletions(backend)
        try:
            yield
            self.file_backend.delete()
        finally:
            self.file_backend = backend


class _LateDeletions:
    """A file backend that only notes what it is asked to delete."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self._backend = backend
        self._noted: list[tuple[str, tuple[int, int]]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def remove(self, filepath: str) -> None:
        """Note a file."""
        self._noted.append((filepath, _identity(filepath)))

    def delete(self) -> None:
        """Delete what was noted, where no new file has the name by now."""
        for path, noted in self._noted:
            if self._backend.isfile(path) and _identity(path) == noted:
                self._backend.remove(path)


def _identity(path: str) -> tuple[int, int]:
    result = Path(path).stat()
    return result.st_ino, result.st_mtime_ns
