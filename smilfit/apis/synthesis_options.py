"""Options of `synthesize`: what of the user's own goes into the sessions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smilfit.apis.options import documented, option


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
