"""mmengine's Runner with errors that name the file."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import nn

from smilfit.files import check_own_files, reading, real_folder, replacing, writing
from smilfit.networks.engine.hooks.plain_checkpoint_hook import inner_model


class CheckedRunner(Runner):
    """What goes wrong with a checkpoint or in the work dir is reported with its path.

    Args:
        *args: as mmengine's.
        work_dir: where it writes.
        console_level: the lowest level of lines shown, beside the log file; the config's `log_level` if None.
        **kwargs: as mmengine's.
    """

    def __init__(
        self, *args: object, work_dir: str, console_level: str | None = None, **kwargs: object
    ) -> None:
        # mmengine builds its logger, and writes hundreds of lines by it, while it is made.
        self._console_level = console_level
        with _writing_logs(work_dir):
            super().__init__(*args, work_dir=work_dir, **kwargs)

    def build_logger(self, *args: object, **kwargs: object) -> MMLogger:
        """Build mmengine's logger; lines below `console_level` go to the file alone, others to stderr.

        Raises:
            LinkedOutputError: a link where logs go.
        """
        # mmengine opens logs in place.
        check_own_files(real_folder(self.work_dir, self.timestamp))
        logger = super().build_logger(*args, **kwargs)
        if self._console_level is not None:
            shown = [h for h in logger.handlers if not isinstance(h, logging.FileHandler)]
            for handler in shown:
                level = max(handler.level, logging.getLevelName(self._console_level))
                logger.handlers.remove(handler)
                logger.handlers.append(_StderrOfNow(level))
        return logger

    def build_optim_wrapper(self, optim_wrapper: object) -> object:
        """Build the optimiser wrapper without mmengine's line for every option of every parameter."""
        self.logger.addFilter(_is_news)
        try:
            return super().build_optim_wrapper(optim_wrapper)
        finally:
            self.logger.removeFilter(_is_news)

    def train(self) -> nn.Module:
        """Train; a log or a checkpoint without room is a DiskFullError."""
        with _writing_logs(self.work_dir):
            return super().train()

    def test(self) -> dict[str, float]:
        """Test; as `train`."""
        with _writing_logs(self.work_dir):
            return super().test()

    def resume(self, filename: str, *args: object, **kwargs: object) -> None:
        """Go on from a checkpoint.

        Raises:
            BadFileError: it lacks what a run needs to go on, or is of another run.
        """
        with reading(
            filename, 'a checkpoint to go on from', 'It is of another run, or damaged: take another one.'
        ):
            super().resume(filename, *args, **kwargs)

    def load_checkpoint(self, filename: str, *args: object, **kwargs: object) -> dict:
        """Read a checkpoint's weights into the model.

        Raises:
            BadFileError: it does not belong to this model.
        """
        with reading(filename, 'a checkpoint of this model'):
            return super().load_checkpoint(filename, *args, **kwargs)

    def _maybe_compile(self, target: str) -> None:
        """Compile as the config's `compile` says: a model's network where it has `compile_network`, else the step."""
        options, part = self.cfg.get('compile'), getattr(inner_model(self), 'compile_network', None)
        if not options or part is None:
            super()._maybe_compile(target)
            return
        part(**({} if options is True else options))
        self.logger.info('The network is compiled: its first batches are slow.')

    @master_only
    def dump_config(self) -> None:
        """Write the config into the work dir; of several processes the first does.

        Raises:
            DiskFullError: no room.
        """
        with writing(self.work_dir):
            name = f'{self.timestamp}.py' if self.cfg.filename is None else Path(self.cfg.filename).name
            with replacing(Path(self.work_dir) / name) as temporary:
                self.cfg.dump(temporary)


class _StderrOfNow(logging.StreamHandler):
    """Writes to what `sys.stderr` is at that time: a progress bar puts its own there, so that lines go above it."""

    def __init__(self, level: int) -> None:
        logging.Handler.__init__(self, level)
        self.setFormatter(logging.Formatter('%(levelname)s: %(message)s'))
        self.addFilter(_is_not_of_mmengine_itself)

    @property
    def stream(self) -> Any:
        """Return where lines go now."""
        return sys.stderr


def _is_not_of_mmengine_itself(record: logging.LogRecord) -> bool:
    # What it calls within itself, at every checkpoint.
    return 'will be deprecated in future' not in record.getMessage()


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith('paramwise_options')


@contextmanager
def _writing_logs(folder: str) -> Iterator[None]:
    """Name the folder in an error of the system that names no file, as logs give."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        with writing(folder):
            raise
