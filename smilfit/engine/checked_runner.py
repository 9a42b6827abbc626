"""mmengine's Runner with errors that name the file."""

from typing import Any

from mmengine.runner import Runner

from smilfit.files import reading, writing


class CheckedRunner(Runner):
    """What goes wrong with a checkpoint or in the work dir is told with its path."""

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Go on from a checkpoint.

        Raises:
            BadFileError: it lacks what a run needs to go on, or is of another run.
        """
        with reading(
            filename, 'a checkpoint to go on from', 'It is of another run, or damaged: take another one.'
        ):
            super().resume(filename, *args, **kwargs)

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> Any:
        """Read a checkpoint's weights into the model.

        Raises:
            BadFileError: it does not belong to this model.
        """
        with reading(filename, 'a checkpoint of this model'):
            return super().load_checkpoint(filename, *args, **kwargs)

    def dump_config(self) -> None:
        """Write the config into the work dir.

        Raises:
            DiskFullError: no room.
        """
        with writing(self.work_dir):
            super().dump_config()
