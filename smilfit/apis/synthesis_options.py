"""Options of `synthesize`: what sessions are like, and what of the user's own goes into them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from smilfit.options.fields import check_values, documented, option, reported
from smilfit.registry import UnknownNameError, did_you_mean

# The looks that have a name (`synthetic/looks`).
STYLES = ('varied', 'wide', 'other')


@documented
@dataclass(frozen=True)
class SynthesisOptions:
    """What a set of made sessions is like.

    Sizes vary between sessions by `scale_spread`, the standard deviation of the logarithm. Animals of one model share
    the arena, each with a shape and a motion of its own.

    Raises:
        UnknownNameError: an unknown style, with the near ones.
        ValueError: a value that cannot work.
    """

    n_sessions: int = option(
        20,
        'sessions: each another animal, motion, light, coat and place',
        flag='--sessions',
        low=1,
        metavar='N',
    )
    n_frames: int = option(160, 'frames of each session', flag='--frames', low=1, metavar='N')
    n_cameras: int = option(4, 'cameras of made rigs', flag='--cameras', low=1, metavar='N')
    size: tuple[int, int] = option(
        (320, 256), 'images of made rigs, px', low=16, high=8192, metavar=('W', 'H')
    )
    unit: str | None = reported('world unit of made rigs', 'mm')
    fps: float = option(30.0, 'frames a second', low=0.0, above=True, metavar='N')
    memory_s: float = option(
        0.33,
        'how long motion keeps its direction, s; 0 draws every frame by itself',
        flag='--memory',
        low=0.0,
        metavar='N',
    )
    style: Any = option('varied', 'what looks are drawn from', choices=STYLES, notebook='Or a `LookStyle`')
    scale: float | None = option(
        None,
        'model unit in world units (default: by their units, else to fill images)',
        low=0.0,
        above=True,
    )
    scale_spread: float = option(
        0.15, 'how much sizes differ between sessions, as a share', low=0.0, high=2.0, metavar='N'
    )
    up: tuple[float, float, float] | None = option(
        None, "the world's up (default: as cameras are held)", metavar=('X', 'Y', 'Z')
    )
    seed: int = option(0, 'of all chance', low=0, metavar='N')
    n_animals: int = option(
        1,
        'animals that share the arena and hide one another: tracks of the labels animal_0, animal_1, ...; in OUT.h5 '
        'sessions of their own',
        flag='--animals',
        low=1,
        metavar='N',
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if isinstance(self.style, str) and self.style not in STYLES:
            raise UnknownNameError(f'synthesize: no style {self.style!r}. {did_you_mean(self.style, STYLES)}')
        check_values(self)
        if self.up is not None and not math.hypot(*self.up) > 0:
            raise ValueError(f'SynthesisOptions: up must be a direction; got {self.up}.')


@documented
@dataclass(frozen=True)
class SynthesisInputs:
    """What of the user's own goes into the sessions."""

    heading: ClassVar[str] = 'your own place'

    calibration: str | Path | None = option(
        None, 'cameras (default: made rigs)', kind='existing_file', metavar='FILE.toml'
    )
    exclude_cameras: Sequence[str] = option((), 'cameras to leave out', metavar='NAME')
    downscale: float = option(1.0, 'make images smaller by this factor', low=1.0, metavar='N')
    unit: str | None = option(
        None, 'world unit where the calibration states none (made rigs: mm)', metavar='UNIT'
    )
    backgrounds: Sequence[str | Path] = option(
        (),
        'images or videos of the place, or folders of them; of a video the median over time is taken. A file called '
        'after a camera, or in a folder that is, is what that camera sees',
        metavar='PATH',
    )
    poses: Sequence[str | Path] = option(
        (),
        'fit.npz of fits, or truth.npz: take poses from these, recombined and mirrored (default: joint limits)',
        kind='existing_file',
        metavar='FILE.npz',
    )
    clips: bool = option(
        False,
        'move as in the clips of the rig that MODEL was imported from (NAME.clips.npz beside it), and show its own '
        'skin where it has an image of it (default: joint limits, drawn coats)',
    )
    joint_lookup: str | Path | None = option(
        None, 'csv of the keypoints to label', kind='existing_file', either='labels', metavar='FILE.csv'
    )
    keypoint_set: str | None = option(
        None,
        "a keypoint set of the model, or 'joints' (default: its first set, or all joints of a model without sets)",
        either='labels',
        metavar='NAME',
    )
