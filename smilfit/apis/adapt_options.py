"""Options of `adapt`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smilfit.apis.progress import ProgressCallback
from smilfit.options.fields import option, reported


@dataclass(frozen=True)
class AdaptOptions:
    """How a network is adapted, and what is made of its keypoints."""

    keypoints: Mapping[str, str] | None = option(
        None,
        "an annotated keypoint's name and the network's, where they differ",
        metavar='LABEL=NETWORK',
        many='pairs',
    )
    steps: int = option(300, 'steps of training, eight crops each', low=1)
    lr: float = option(5e-4, 'largest learning rate', low=0.0, above=True)
    flow: str = option(
        'DISFlow', 'estimator of optical flow: DISFlow, or one of yours, registered by --import'
    )
    held_out: bool = option(
        True,
        'judge by labels that are left out by turns',
        off='do not leave labels out by turns to judge by them: half of the time, and no verdict on the labels',
    )
    masks: str | Path | None = option(
        None,
        'masks of some frames, which are propagated to the others: images CAMERA/000000.png, by the number of the '
        'frame, white where the animal is',
        metavar='DIR',
    )
    comparison: bool = option(
        False, 'a video of the keypoints by the network as it came, by the adapted one, and by their paths'
    )
    seed: int = option(0, 'of all chance', low=0)
    body_model: str | Path | None = option(
        None, "a body model file or a shipped model's name, instead of the training's", metavar='FILE'
    )
    device: str = option('auto', 'cpu, cuda, cuda:0 (or another number) or auto', kind='device')
    threads: int | None = option(None, "CPU threads; torch's own choice if not given", low=1, high=1024)
    overwrite: bool = option(False, 'make all again')
    progress: ProgressCallback | None = reported('called with a `Progress`')
