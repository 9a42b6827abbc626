"""Options of what is done with rigged models: import, lookups, registration, measurements and shape spaces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smilfit.apis.progress import ProgressCallback
from smilfit.options.fields import AXES, UNITS, documented, launched_by, option, reported

LIMITS = ('auto', 'file', 'clips', 'default')
FORMS = ('entangled', 'disentangled', 'vertices')
_AXIS = 'in the model; by its file if not given, else by the names of its joints'


@dataclass(frozen=True)
class ImportOptions:
    """How a rig becomes a body model."""

    unit: str | None = option(
        None,
        "of the rig's numbers; nothing is scaled (default: as the file or its format says; glTF: m; MuJoCo: by its "
        'gravity)',
        choices=('m', 'dm', 'cm', 'mm', 'um', 'in', 'ft'),
    )
    limits: str | Path = option(
        'auto',
        "joint limits: the file's (file), ranges that its clips use and 15 degrees more (clips), 90 degrees in "
        'limbs and 45 on the midline (default), or a table joint,axis,min_deg,max_deg (axis x, y or z); auto takes '
        "the file's "
        'where it has some (default: auto)',
        kind='limits',
        metavar='|'.join((*LIMITS, 'FILE.csv')),
    )
    overwrite: bool = option(False, 'replace OUT and what lies beside it', flag='--force')
    skin: str | Path | None = option(
        None,
        'of a MuJoCo model (default: what the model names, else the one .skn beside it)',
        kind='existing_file',
        metavar='FILE.skn',
    )
    keypoints: str | Path | None = option(
        None,
        "of a MuJoCo model: STAC's table of keypoints, the bodies they hang on and start offsets, in the model's "
        'unit; they become landmarks whose places a fit finds',
        kind='existing_file',
        metavar='FILE.yaml',
    )
    armature: str | None = option(
        None,
        'of a .fbx, .blend or .dae: the one to take, where several armatures have meshes of their own',
        metavar='NAME',
    )


@dataclass(frozen=True)
class LookupOptions:
    """How a lookup is proposed and shown."""

    page: str | Path | None = option(None, 'the page to write (default: beside OUT.csv)', metavar='FILE.html')
    up: str | None = option(None, f'axis that points up {_AXIS}; negative ones as --up=-z', choices=AXES)
    forward: str | None = option(None, f'axis that points forward {_AXIS}', choices=AXES)
    offset_sd: float | None = option(
        None,
        'how far labels may be from proposed places of the skin, share of the body (default: 0.05)',
        low=0.0,
        above=True,
        metavar='SHARE',
    )
    overwrite: bool = option(False, 'replace OUT.csv and the page', flag='--force')


@documented
@dataclass(frozen=True)
class MeasuringOptions:
    """How things are measured."""

    body_model: str | Path | None = option(
        None, 'body model of registrations and fits, where it is not found', metavar='FILE|NAME'
    )
    unit: str | None = option(None, 'unit of lengths, where a file does not state one', choices=UNITS)
    betas: dict[str, tuple[float, ...]] = field(
        default_factory=dict, metadata={'notebook': 'shapes of models to measure beside the mean, by name'}
    )
    beta_steps: float = option(
        0.0,
        'of models: also each shape coefficient moved up and down by so many standard deviations; not if 0',
        low=0.0,
        high=10.0,
        above=True,
        metavar='SD',
    )
    poses: int = option(
        40, 'of fits: in how many frames the spread over poses is measured', low=1, metavar='N'
    )
    keep_doubted: bool = option(
        False, 'slopes take numbers that are in doubt, too; else these are left out and counted'
    )


@dataclass(frozen=True)
class ShapeSpaceOptions:
    """How specimens become a shape space."""

    body_model: str | Path | None = option(
        None, 'body model of the registrations, where it is not found', metavar='FILE|NAME'
    )
    form: str = option(
        'entangled',
        'entangled: each beta moves vertices, logarithms of joint scales, and joint offsets together; disentangled: '
        'betas of each alone; vertices: rest vertices with what scales did to them',
        choices=FORMS,
    )
    variance: float = option(
        0.95,
        'as many betas as hold this share of the variance',
        low=0.0,
        high=1.0,
        above=True,
        either='betas',
        metavar='SHARE',
    )
    components: int | None = option(
        None, 'so many betas, of each block where there are several', low=1, either='betas', metavar='N'
    )
    keep_size: bool = reported(
        'size is part of the space; else specimens are brought to one centroid size first', False
    )


@dataclass(frozen=True)
class RegisterOptions:
    """How scans are registered."""

    body_model: str | Path | None = option(
        None,
        "body model file, quadruped or insect, or a template mesh without a skeleton; instead of the config's",
        metavar='FILE|NAME',
    )
    unit: str | None = option(
        None,
        "of the scans' coordinates; without it lengths are in the files' own unit, and are not called mm",
        choices=UNITS,
    )
    threads: int = option(1, 'CPU threads', low=1, high=1024)
    launcher: str = launched_by('that share the scans')
    overwrite: bool = option(False, 'register again what is registered already')
    cfg_options: Mapping[str, object] | None = option(
        None, "override the config's values, such as n_starts=6", metavar='KEY=VALUE'
    )
    progress: ProgressCallback | None = reported('called with a `Progress` by the first process')
