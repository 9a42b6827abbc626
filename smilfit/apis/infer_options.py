"""Options of `infer`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from smilfit.apis.progress import ProgressCallback, ignore
from smilfit.options.fields import (
    MESH_FORMATS,
    check_values,
    documented,
    launched_by,
    option,
    other_body_model,
    reported,
)
from smilfit.registry import reject_unknown

OWN, SLEAP, WHOLE = 'own', 'sleap', 'whole'
REFINE_CONFIG = 'fit/multiview_keypoints_lm.py'
# Files of a recording's results: as predicted, refined by a fit, smoothed over time.
PREDICTIONS, REFINED, SMOOTHED = 'predictions.npz', 'refined.npz', 'smoothed.npz'
VIDEO_STYLES = ('overlay', 'side_by_side')


@runtime_checkable
class Numbered(Protocol):
    """A recording: its name, and the numbers of its frames in order."""

    name: str
    numbers: Sequence[int]


@dataclass(frozen=True)
class InferOptions:
    """Which model predicts, and where."""

    config: str | Path | None = option(
        None, "the training's config, for checkpoints that do not hold the model's", metavar='FILE'
    )
    body_model: str | Path | None = other_body_model('training')
    network: str | Path | None = option(
        None,
        'what smilfit export wrote of the checkpoint, of a KeypointRegressor: onnxruntime runs it on the CPU in the '
        "network's place",
        metavar='FILE.onnx',
    )
    cameras: Mapping[str, str] | None = option(
        None,
        "a recorded camera's name and its name in the training, for models that know cameras by name",
        metavar='NEW=OLD',
        many='pairs',
    )
    animals: int | str | None = option(
        None,
        'so many animals share the recording: each has a folder animal_0, animal_1, ... and a track in the labels, '
        'videos show all. Needs a model with a map of centres (configs/train/keypoint_several.py). auto takes as '
        'many as are seen at once in a tenth of the frames; one animal if not given',
        kind='animal_count',
        metavar='N|auto',
    )
    least_confidence: float | None = option(
        None,
        'a frame of a lower median confidence shows no animal that the network knows, and is not predicted; what '
        'validation found if not given, 0 leaves none out',
        low=0.0,
        high=1.0,
    )
    fps: float | None = option(None, "frames per second, instead of the recording's", low=0.0, above=True)
    device: str = option('auto', 'cpu, cuda, cuda:0 (or another number) or auto', kind='device')
    threads: int | None = option(None, "CPU threads; torch's own choice if not given", low=1, high=1024)
    launcher: str = launched_by('that share the frames')
    overwrite: bool = option(False, 'predict again what is there already')
    progress: ProgressCallback | None = reported('called with a `Progress` by the first process')


@documented
@dataclass(frozen=True)
class SourceOptions:
    """What is read of a source, and how frames are cut."""

    heading: ClassVar[str] = 'what is read'

    videos: Mapping[str, str | Path] | None = option(
        None, 'videos by camera, instead of those in a folder', metavar='CAMERA=FILE', many='pairs'
    )
    calibration: str | Path | None = option(
        None, "the cameras, as anipose's; else the folder's calibration.toml", metavar='FILE.toml'
    )
    views: tuple[str, ...] = option((), 'use these cameras alone; all if not given', metavar='CAMERA')
    sessions: tuple[str, ...] = option((), 'sessions of a dataset file; all if not given', metavar='NAME')
    boxes: object = option(
        OWN,
        'where the animal is: found by the model where it can, else the whole frame (own); around the SLEAP labels '
        'beside the videos; the whole frame; a table (frame, camera, x, y, width, height in px); or a detector of '
        'yours, registered by --import',
        metavar='own|sleap|whole|FILE.csv|NAME',
    )
    side: int | None = option(None, "side of the crops; the training's", low=16, high=8192, unit='px')
    fov_deg: float | None = option(
        None,
        "angle of view of an uncalibrated camera's longer side, degrees; if not given, what preprocessing guesses: a "
        'focal length of 1.2 times that side (45 degrees)',
        flag='--fov',
        low=1.0,
        high=170.0,
        unit='deg',
    )
    resize: bool = option(
        False,
        "videos may be larger or smaller than the calibration's images, by one factor: cameras are scaled",
    )
    common: bool = option(False, 'of videos of different length use the part that all have')
    unit: str | None = option(None, 'world unit, where the calibration does not state it')


@documented
@dataclass(frozen=True)
class FrameOptions:
    """Which frames are predicted, and how many at once."""

    heading: ClassVar[str] = 'which frames, and how many at once'

    start: int = option(0, 'the first frame', low=0)
    every: int = option(1, 'take every n-th frame', low=1)
    max_frames: int | None = option(None, 'so many at most; all if not given', low=1)
    batch_size: int = option(8, 'frames in the network at once', low=1)
    block_size: int = option(
        128,
        'frames that are kept together: a run that was stopped goes on after the last whole block',
        low=1,
    )

    def chosen(self, recording: Numbered) -> list[int]:
        """Choose frames of a recording.

        Raises:
            ValueError: none is left.
        """
        numbers = list(recording.numbers)[self.start :: self.every][: self.max_frames]
        if not numbers:
            raise ValueError(
                f'{recording.name}: a frame at least must be left; of {len(recording.numbers)} none is from '
                f'{self.start} on. Give a smaller --start.'
            )
        return numbers


@documented
@dataclass(frozen=True)
class InferenceOutputs:
    """What is written beside the predictions.

    Raises:
        UnknownNameError: another format or style, with the near ones.
        ValueError: a number that cannot be.
    """

    heading: ClassVar[str] = 'what is written beside predictions.npz and joint_angles.csv'

    smoothing_s: float = option(
        0.0,
        'standard deviation of the Gaussian of time over which rotations, places and sizes are averaged, without '
        'lag; 0 smooths nothing. predictions.npz stays as predicted, smoothed.npz and all else are smoothed',
        flag='--smoothing',
        low=0.0,
        high=60.0,
        metavar='SECONDS',
    )
    refine: str | Path = option(
        '',
        'fit the body to the keypoints that the network saw, from its prediction, and judge the fit (refined.npz, '
        f'verdict.json); a registrant config, {REFINE_CONFIG} if none is named',
        const=REFINE_CONFIG,
        metavar='CONFIG',
    )
    video: str = option('', 'a video of all views with the bodies drawn', choices=VIDEO_STYLES)
    video_views: tuple[str | int, ...] = option(
        (), 'cameras in the video, by name', metavar='CAMERA', notebook='Or by number; all if empty'
    )
    view_videos: bool = option(False, 'a video a camera beside that of all')
    window_px: int = option(400, 'longer side of a camera in videos, px', low=16, high=4096)
    meshes: str = option('', 'write meshes in this format', choices=MESH_FORMATS)
    mesh_every: int = option(1, 'a mesh every n-th predicted frame', low=1)
    animation: bool = option(True, 'write animation.glb', off='write no animation.glb')
    labels: bool = option(
        True,
        'write SLEAP labels of predicted keypoints, a camera a file',
        off='write no SLEAP labels of predicted keypoints',
    )
    progress: ProgressCallback | None = reported('called with a `Progress`')

    def __post_init__(self) -> None:
        """Check names and numbers."""
        reject_unknown('--meshes', 'format', [self.meshes] if self.meshes else [], MESH_FORMATS)
        reject_unknown('--video', 'style', [self.video] if self.video else [], VIDEO_STYLES)
        check_values(self)
        if self.progress is None:
            object.__setattr__(self, 'progress', ignore)
