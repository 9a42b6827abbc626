"""Options of `fit` and `fit_images`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from smilfit.apis.progress import ProgressCallback, ignore
from smilfit.options.fields import FieldValue, launched_by, option, other_body_model, reported
from smilfit.registry import reject_unknown

MESH_FORMATS = ('obj', 'ply', 'none')


def _window(default: int) -> FieldValue:
    """Make the option of how large bodies are drawn."""
    help = (
        'side of a camera in overlays, px; the animal fills three quarters of it, and what is drawn larger takes '
        'longer'
    )
    return option(default, help, low=16, high=4096)


@dataclass(frozen=True)
class VideoChoice:
    """Which frames of a recording its video shows: each `every`-th of those from `start` on and before `stop`.

    They are numbers of the recording's frames; what is None has no limit.
    """

    every: int = 1
    start: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f'--video-every: the step must be at least 1; got {self.every}.')
        low = self.start or 0
        if low < 0 or (self.stop is not None and self.stop <= low):
            raise ValueError(
                f'--video-frames: the range must be A:B with 0 <= A < B; got {self.start}:{self.stop}. A is shown, B '
                'is not.'
            )

    def rows(self, session: str, frames: Collection[int] | Int[np.ndarray, ' n']) -> list[int]:
        """Return the places of the chosen frames in a session's.

        Raises:
            ValueError: the session has none of them.
        """
        low, high = self.start or 0, float('inf') if self.stop is None else self.stop
        rows = [row for row, frame in enumerate(frames) if low <= frame < high][:: self.every]
        if not rows:
            first, last = (min(frames), max(frames)) if len(frames) else (0, 0)
            stop = '' if self.stop is None else self.stop
            raise ValueError(
                f'--video-frames: session {session} must have frames in {low}:{stop}; its frames go from {first} to '
                f'{last}. Choose others, or leave the video out by --no-video.'
            )
        return rows

    def record(self) -> dict[str, int | None]:
        """State what differs from a video of all frames."""
        stated = {'every': self.every, 'start': self.start, 'stop': self.stop}
        usual = VideoChoice()
        return {f'video_{name}': value for name, value in stated.items() if value != getattr(usual, name)}


@dataclass(frozen=True)
class FitImagesOptions:
    """How a fit is computed and what is written of it."""

    overwrite: bool = option(False, 'fit again what is fitted already')
    cfg_options: Mapping[str, object] | None = option(
        None, 'override config values, such as stages.0.n_iter=5', metavar='KEY=VALUE'
    )
    device: str = option(
        'cpu',
        'where to compute: cpu, cuda, cuda:0 (or another number) or auto; with a launcher, cuda gives each process '
        'its own',
        kind='device',
    )
    threads: int = option(
        1, 'CPU threads of torch; the tensors of a fit are small, more is slower', low=1, high=1024
    )
    window_px: int = _window(400)
    meshes: str | None = option(
        None,
        'write the mesh of every frame in this format; if not given, obj for images and none for recordings',
        choices=MESH_FORMATS,
    )
    video: bool = option(True, 'write overlay videos', off='write no overlay videos')
    video_every: int = option(
        1,
        'show each Nth frame in the overlay video, which then runs N times as fast',
        low=1,
        metavar='N',
    )
    video_frames: tuple[int | None, int | None] | None = option(
        None,
        'show frames A up to, but not with, B of the recording (of images: by their places in the sequence); either '
        'may be left out (:500, 2000:)',
        notebook='What is left out is None',
        kind='frame_range',
        metavar='A:B',
    )
    video_workers: int = option(
        1,
        'processes that draw the overlay video of a recording, each some of its cameras; 0 takes as many as there '
        'are cores and cameras if the video has 400 frames or more, and one else',
        notebook="A script that takes more than one must have its calls under `if __name__ == '__main__':`",
        low=0,
        high=256,
        typed=0,
        metavar='N',
    )
    verdict: bool = option(
        True,
        'judge the fits, by fits of few frames without a camera and with shuffled keypoints, among others',
        off='do not judge the fits: saves fits of few frames without a camera and with shuffled keypoints; the '
        'report then says that nothing was judged',
    )
    verdict_thresholds: str | Path | None = option(
        None,
        'thresholds of your own, by measure, instead of the shipped ones (docs/verdict.md)',
        metavar='FILE.json',
    )
    progress: ProgressCallback | None = reported('called with a `Progress` by the first process')

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            ValueError: a mesh format, or a range of frames, that cannot be.
        """
        reject_unknown('--meshes', 'mesh format', [self.meshes] if self.meshes else [], MESH_FORMATS)
        if self.progress is None:
            object.__setattr__(self, 'progress', ignore)
        _ = self.video_choice

    @property
    def video_choice(self) -> VideoChoice:
        """Which frames videos show."""
        return VideoChoice(self.video_every, *(self.video_frames or ()))


@dataclass(frozen=True)
class FitOptions(FitImagesOptions):
    """How to fit a dataset file: which sessions, to what, where, and what to draw and write."""

    window_px: int = _window(320)
    body_model: str | Path | None = other_body_model('dataset')
    sessions: Sequence[str] = option((), 'sessions to fit; all if not given', metavar='NAME')
    masks: str | Path | None = option(
        None,
        'where the masks of a config with mask stages (configs/fit/multiview_masks.py) come from: a folder with '
        'SESSION/CAMERA/000000.png, or found by colours beside the fitted body, or by what differs from the empty '
        'place; as the config says if not given',
        metavar='DIR|grabcut|background',
    )
    landmarks: str | Path | None = option(
        None,
        'landmarks.json of an earlier session of the same animal and lab: landmarks are expected where it found them',
        metavar='FILE.json',
    )
    launcher: str = launched_by(
        'that share the work (each takes whole sessions; where there are fewer sessions than processes, stages '
        'solved by LevenbergMarquardt without motion terms are fitted by all together, each on a part of the frames)'
    )
