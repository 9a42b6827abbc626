"""Which frames of a recording its video shows."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class VideoChoice:
    """Each `every`-th frame of those from `start` on and before `stop` (numbers of the recording's frames).

    What is None has no limit.
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
