"""Options of `train`, `check_training`, `test` and `compare`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.apis.progress import ProgressCallback, RunListener
from smilfit.options.fields import launched_by, option, other_body_model, reported


@dataclass(frozen=True)
class RunOptions:
    """What training and testing share."""

    work_dir: str | Path | None = option(
        None,
        'where to write; else the config’s, else work_dirs/<config name> (of a test or comparison without a config, '
        'the checkpoint’s folder)',
    )
    cfg_options: Mapping[str, object] | None = option(
        None,
        'override the config, such as train_dataloader.dataset.data_path=out.h5; unknown keys are errors',
        metavar='KEY=VALUE',
    )
    body_model: str | Path | None = other_body_model('dataset')
    device: str = option('auto', 'where to compute', choices=('auto', 'cpu', 'cuda'))
    launcher: str = launched_by('of a distributed run')
    progress: ProgressCallback | None = reported(
        'called with a `Progress` after every step, by the first process'
    )
    listener: RunListener | None = reported(
        'hears what is run and how it goes; what mmengine says goes to the log file alone then'
    )


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """How to train."""

    resume: str | None = option(
        None,
        "go on from a checkpoint; without a value ('auto'), from the latest in the work dir",
        const='auto',
        metavar='CHECKPOINT',
    )
    amp: bool = option(False, 'mixed precision (bfloat16; on the CPU too)')
    track: Sequence[str] = option(
        (),
        'keep the curves there too, beside the log; may be given twice',
        choices=('tensorboard', 'wandb'),
        many='append',
    )
    auto_scale_lr: bool = option(
        False,
        'scale the learning rate by the total batch size over the config’s auto_scale_lr.base_batch_size',
    )
    validate: bool = option(True, 'validate while training')
    pseudo_labels: Sequence[str | Path] = option(
        (),
        'learn from bodies found in unlabelled frames too: folders of infer --refine or fit, of which frames judged '
        'good are taken, or files of make_pseudo_labels',
        metavar='DIR|FILE',
    )
    pseudo_weight: float = option(
        0.3,
        'how much a body of --pseudo-labels counts beside a known one',
        low=1e-6,
        high=1.0,
        metavar='W',
    )
    targets: str | Path | None = option(
        None,
        'a folder of smilfit fit of the dataset: the parameters that it found are what losses on parameters compare '
        'with, weighted by how well they are known; frames that are not believable are left out',
        metavar='DIR',
    )


@dataclass(frozen=True)
class CompareOptions(RunOptions):
    """How to test, and where numbers go."""

    out: str | Path | None = option(
        None,
        'write the metrics (with --compare, the differences) to this .json; else <work dir>/benchmark/metrics.json',
    )


@dataclass(frozen=True)
class TestOptions(CompareOptions):
    """How to test a trained regressor."""

    # Its name is no test's.
    __test__ = False

    averaged: bool = option(
        True,
        'test the averaged weights of a training with EMAHook',
        flag='--no-ema',
        off='of a training with EMAHook, test the weights of the last step',
    )
    refine: bool = option(
        False,
        "fit the body to what the network saw, from its prediction, as the config's `refinement` says",
    )
    protocol: Sequence[str] = option(
        (),
        'score by a published protocol, too: wldo, animer, smalst, tigdog, badja, space or motion; may be given '
        'again',
        many='append',
        metavar='NAME',
    )
    left_out_views: bool = option(
        False,
        'judge the model also in each view of which it sees only the others (three views at least); as many '
        'predictions more as there are views',
    )
