"""What a format is: a class that says what it needs and writes its files."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from smilfit.body_models import SMIL
from smilfit.exports.exported_fit import ExportedFit
from smilfit.io import MESH_FORMATS
from smilfit.registry import EXPORTERS, reject_unknown

AXES = ('x', 'y', 'z', '-x', '-y', '-z')


@dataclass(frozen=True)
class ExportOptions:
    """How formats are written.

    Args:
        every: a mesh every n-th frame that has one.
        mesh_format: 'obj', 'ply' or 'glb'.
        up: the world's axis that points up; glTF's own is y, to which the scene is then turned. None leaves axes as
            they are.
        start: when the recording began, for NWB.

    Raises:
        UnknownNameError: another format or axis, with the near ones.
    """

    every: int = 1
    mesh_format: str = 'obj'
    up: str | None = None
    start: datetime | None = None

    def __post_init__(self) -> None:
        """Check names and numbers."""
        reject_unknown('--mesh-format', 'format', [self.mesh_format], MESH_FORMATS)
        reject_unknown('--up', 'axis', [self.up] if self.up else [], AXES)
        if self.every < 1:
            raise ValueError(f'--every: must be at least 1; got {self.every}.')


# What a format may need: how to tell whether it is there, and what to say where it is not.
_NEEDS: dict[str, tuple[Callable[[ExportedFit], bool], str]] = {
    'keypoints': (
        lambda e: bool(e.keypoint_names),
        'the file keeps no keypoints. Fit again, with a version that keeps them',
    ),
    'cameras': (
        lambda e: e.cameras is not None,
        'the file keeps no cameras of the recorded images that hold for the fit',
    ),
    'one rig': (
        lambda e: e.cameras is not None and e.cameras.K.ndim == 3,
        'every image has a camera of its own, and the format has one set for all frames',
    ),
    'pixels': (
        lambda e: e.pixels is not None or e.cameras is not None,
        'the file keeps no cameras of the recorded images that hold for the fit',
    ),
    'time': (lambda e: e.in_time, 'its frames are single images, which do not follow one another in time'),
    'fps': (lambda e: bool(e.fps), 'frames per second are not known. Give --fps'),
    'body': (
        lambda e: isinstance(e.fit.body, SMIL),
        'the body model is not known. Give --body-model FILE',
    ),
    'faces': (
        lambda e: isinstance(e.fit.body, SMIL) and len(e.fit.body.faces) > 0,
        'the body model must have faces. Give another one, or leave the format out',
    ),
}


class FitExporter(ABC):
    """Writes a fit in one format.

    A format of your own is a class that `EXPORTERS.register_module(name='my_format')` names; `--import my_file.py`
    makes it known to the command.
    """

    # Of the names in this file's table, in the order in which they are looked at.
    needs: tuple[str, ...] = ()

    def why_not(self, fit: ExportedFit) -> str | None:
        """Say why a fit cannot be written so; None where it can."""
        if not fit.valid.any():
            return 'no frame has a body'
        missing = next((name for name in self.needs if not _NEEDS[name][0](fit)), None)
        if missing is None:
            return None
        no_body = missing in ('body', 'faces') and not isinstance(fit.fit.body, SMIL)
        return fit.no_body if no_body and fit.no_body else _NEEDS[missing][1]

    @abstractmethod
    def write(self, folder: Path, fit: ExportedFit, options: ExportOptions) -> None:
        """Write the files into an empty folder."""


def exporter(name: str) -> FitExporter:
    """Give a format by name.

    Raises:
        UnknownNameError: an unknown one, with the near ones.
    """
    reject_unknown('--to', 'format', [name], formats())
    found: FitExporter = EXPORTERS.get(name)()
    return found


def formats() -> tuple[str, ...]:
    """Name all formats."""
    EXPORTERS.import_from_location()
    return tuple(EXPORTERS.module_dict)
