"""Options of `export` of a network, and of what converts SMILify's trainings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from smilfit.options.fields import option, other_body_model


@dataclass(frozen=True)
class NetworkOptions:
    """How a network is written as ONNX."""

    data: str | Path | None = option(
        None,
        'a dataset file: numbers are compared on its images too; on random inputs alone if not given',
        metavar='FILE.h5',
    )
    tolerance: float = option(
        1e-3,
        'largest absolute difference of any output; logits of heat maps are some tens',
        low=0.0,
        above=True,
    )
    batch_sizes: Sequence[int] = option((1, 4), 'to compare on', low=1, high=1024, metavar='N')
    side: int | None = option(
        None, "side of the images; the training's if not given", low=16, high=8192, unit='px'
    )
    config: str | Path | None = option(
        None, "the training's config, for checkpoints that do not hold the model's", metavar='FILE'
    )
    body_model: str | Path | None = other_body_model('training')
    force: bool = option(False, 'replace OUT.onnx and OUT.json')


@dataclass(frozen=True)
class ConversionOptions:
    """How a config of SMILify is converted."""

    unit: float = option(
        1.0,
        'the data’s units in one of the network’s: 1000 for data in mm, which SMILify brings to m',
        low=0.0,
        above=True,
        metavar='FACTOR',
    )
    force: bool = option(False, 'replace the files that are written')


@dataclass(frozen=True)
class CheckpointOptions:
    """How a checkpoint of SMILify is converted."""

    unit: float | None = option(
        None,
        'the data’s units in one of the network’s: 1000 for data in mm, which SMILify brings to m; by the size of '
        'the animal that the network predicts if not given',
        low=0.0,
        above=True,
        metavar='FACTOR',
    )
    force: bool = option(False, 'replace the files that are written')
    camera_names: Sequence[str] | None = option(
        None,
        'the cameras of its training in alphabetical order, where the file does not name them',
        flag='--cameras',
        metavar='NAME',
    )
    frame: str | None = option(
        None,
        'the world it was trained in: the calibration’s, or that of first cameras (merged datasets); as the file has '
        'it if not given',
        choices=('world', 'first_camera'),
    )


@dataclass(frozen=True)
class AnimerOptions:
    """How a checkpoint of AniMer, or of ViTPose, is converted."""

    backbone_only: bool = option(
        False,
        'write the backbone alone, as the checkpoint of a TimmBackbone or ViTPyramid',
        flag='--backbone',
    )
    n_iters: int = option(
        1,
        'how often the head adds its answer: IEF_ITERS of the file’s config.yaml, 3 of AniMer’s first stage',
        low=1,
        flag='--iterations',
        metavar='N',
    )
    heads: int | None = option(
        None, 'heads of the backbone’s attention; by its width if not given', low=1, metavar='N'
    )
    force: bool = option(False, 'replace the file that is written')
