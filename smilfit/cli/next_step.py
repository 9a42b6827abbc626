"""The command that goes on from a rig to a fit, or from scans to numbers, as the one before prints it."""

import shlex
from collections.abc import Mapping
from pathlib import Path

SLEAP, POINTS3D = 'sleap', 'points3d'
# Files that hold points in space, by how their names end.
_POINT_FILES = ('.mat', '.nwb', '.npz', 'points3d.h5')


def likely_format(recording: Path) -> str:
    """Give the format of a recording, as `preprocess` names them, by its name."""
    return POINTS3D if recording.name.lower().endswith(_POINT_FILES) else SLEAP


def landmarks_step(model: Path, recording: Path | None, skeleton: Path | None) -> str:
    """Give the command that finds a recording's keypoints on a model."""
    if recording is None:
        return f'smilfit landmarks {shlex.quote(str(model))} RECORDING'
    words = ['smilfit', 'landmarks', str(model), str(recording), f'{_stem(recording)}_lookup.csv']
    if likely_format(recording) != SLEAP:
        words += ['--format', likely_format(recording)]
    return shlex.join(words + ([] if skeleton is None else ['--skeleton', str(skeleton)]))


def preprocess_step(
    data_format: str, recording: Path, model: Path, table: Path, options: Mapping[str, object]
) -> str:
    """Give the command that makes a dataset of what a table maps; `options` are further ones by name."""
    words = ['smilfit', 'preprocess', data_format, str(recording), f'{_stem(recording)}.h5']
    words += ['--body-model', str(model), '--joint-lookup', str(table)]
    for name, value in options.items():
        words += [] if value is None else [f'--{name}', str(value)]
    return shlex.join(words)


def fit_step(data_format: str, dataset: Path) -> str | None:
    """Give the command that fits a dataset; None of a format whose fit is for the user to choose."""
    config = {POINTS3D: 'points3d_lm', SLEAP: 'multiview_keypoints_lm'}.get(data_format)
    if config is None:
        return None
    words = [
        'smilfit',
        'fit',
        f'configs/fit/{config}.py',
        '--data',
        str(dataset),
        '--out',
        f'{dataset.stem}_fit',
    ]
    return shlex.join(words)


def measure_step(registrations: Path) -> str:
    """Give the command that measures registered scans."""
    out = registrations.with_name(f'{registrations.resolve().name}.csv')
    return shlex.join(['smilfit', 'model', 'measure', str(registrations), '--out', str(out)])


def _stem(recording: Path) -> str:
    return recording.resolve().name.partition('.')[0] or 'recording'
