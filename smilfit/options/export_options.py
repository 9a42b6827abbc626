"""Options of exports: how the files of other programs are written."""

from dataclasses import dataclass
from datetime import datetime

from smilfit.options.fields import MESH_FORMATS, documented, option
from smilfit.registry import reject_unknown

# Of the calibration; '+x' is said without its sign.
UP_AXES = ('x', 'y', 'z', '-x', '-y', '-z')


@documented
@dataclass(frozen=True)
class ExportOptions:
    """How formats are written.

    Raises:
        UnknownNameError: another format or axis, with the near ones.
    """

    every: int = option(1, 'a mesh every N-th frame', low=1, metavar='N')
    mesh_format: str = option('obj', 'of meshes', choices=MESH_FORMATS)
    up: str | None = option(
        None,
        "the calibration's axis that points up, negative ones as --up=-z: the scene of glb is turned so that it "
        "does in Blender and three.js, whose own up glTF's y becomes",
        choices=UP_AXES,
    )
    start: datetime | None = option(
        None,
        'when the recording began, for nwb: 2026-11-23T09:30:00',
        flag='--session-start',
        kind='moment',
        metavar='TIME',
    )

    def __post_init__(self) -> None:
        """Check names and numbers."""
        reject_unknown('--mesh-format', 'format', [self.mesh_format], MESH_FORMATS)
        reject_unknown('--up', 'axis', [self.up] if self.up else [], UP_AXES)
        if self.every < 1:
            raise ValueError(f'--every: must be at least 1; got {self.every}.')
