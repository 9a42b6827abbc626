"""Options of what calibrates cameras."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smilfit.options.fields import FieldValue, option, reported

_ON_CAMERA = "called with a camera's name, how many images showed the board, and how many were searched"


def _free(default: str) -> FieldValue:
    help = (
        'what may change: pose (rotation and place), focal (and focal length), lens (and lens coefficients), all '
        '(and principal point) (default: focal by keypoints, all by boards)'
    )
    return option(default, help, choices=('pose', 'focal', 'lens', 'all'), typed=None)


@dataclass(frozen=True)
class SearchOptions:
    """How a board is looked for."""

    n_lens: int = option(
        2,
        'lens coefficients: 1 (k1), 2 (k1, k2), 5 (k1, k2, p1, p2, k3)',
        flag='--lens',
        choices=(1, 2, 5),
    )
    most_frames: int = option(300, 'frames to search in each video, evenly spread', low=1, metavar='N')
    on_camera: Callable[[str, int, int], None] | None = reported(_ON_CAMERA)


@dataclass(frozen=True)
class RigOptions(SearchOptions):
    """How a rig is calibrated by boards."""

    floor_frame: int | None = option(
        None,
        "number of a frame in which the board lies on the floor: the world's z = 0, z up, origin at the board's "
        "corner (without: the first camera's frame)",
        low=0,
        metavar='FRAME',
    )
    free_centre: bool = option(
        True,
        'find principal points',
        flag='--middle',
        off="keep principal points in the images' middles, as anipose does",
    )
    against: str | Path | None = option(
        None, 'a calibration.toml to compare with: scale and angles', metavar='FILE'
    )


@dataclass(frozen=True)
class RepairOptions:
    """What of a camera may change."""

    free: str = _free('focal')
    unit: str | None = option(
        None, 'world unit of the calibration, such as mm, where it does not say', metavar='UNIT'
    )


@dataclass(frozen=True)
class LabelRepairOptions(RepairOptions):
    """How a camera is calibrated by labels of the animal."""

    heading: ClassVar[str] = 'by keypoints'

    format: str = option(
        'sleap',
        'how the session is labelled (default: sleap, folders of cameras or a .slp of several)',
        choices=('sleap', 'anipose', 'dlc', 'lightningpose'),
    )
    points: str = option(
        'placed',
        "3D points: placed by the other cameras, or given by the session's own, where those are known to be right",
        choices=('placed', 'given'),
    )
    like_mates: bool = option(
        True,
        'expect a focal length and lens like those of cameras with the same image size',
        flag='--no-mates',
        off='expect no focal length and lens like those of cameras with the same image size',
    )
    exclude_cameras: Sequence[str] = option((), 'further cameras that take no part', metavar='NAME')


@dataclass(frozen=True)
class BoardRepairOptions(SearchOptions, RepairOptions):
    """How a camera is calibrated by boards."""

    free: str = _free('lens')
