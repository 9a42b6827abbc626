"""The command that goes on from a rig to a fit and its animation, or from scans to numbers."""

import shlex
from collections.abc import Mapping
from pathlib import Path

SLEAP, POINTS3D = 'sleap', 'points3d'
# Files that hold points in space, by how their names end.
_POINT_FILES = ('.mat', '.nwb', '.npz', 'points3d.h5')
# Of a table's first line, characters.
_LONGEST_HEAD = 1 << 16


def likely_format(recording: Path) -> str:
    """Return the format of a recording, as `preprocess` names them: by its name, of a table by its columns."""
    name = recording.name.lower()
    if name.endswith('.csv') and recording.is_file():
        with recording.open(encoding='utf-8', errors='replace') as file:
            columns = file.readline(_LONGEST_HEAD).lower().strip().split(',')
        return POINTS3D if any(c == 'z' or c.endswith('_z') for c in columns) else SLEAP
    return POINTS3D if name.endswith(_POINT_FILES) else SLEAP


def landmarks_step(model: Path, recording: Path | None, options: Mapping[str, object]) -> str:
    """Return the command that finds a recording's keypoints on a model; `options` are further ones by name."""
    if recording is None:
        return f'smilfit landmarks {shlex.quote(str(model))} RECORDING'
    words = ['smilfit', 'landmarks', str(model), str(recording), f'{_stem(recording)}_lookup.csv']
    if likely_format(recording) != SLEAP:
        words += ['--format', likely_format(recording)]
    return shlex.join(words + _given(options))


def preprocess_step(
    data_format: str, recording: Path, model: Path, table: Path, options: Mapping[str, object]
) -> str:
    """Return the command that makes a dataset of what a table maps; `options` are further ones by name."""
    words = ['smilfit', 'preprocess', data_format, str(recording), f'{_stem(recording)}.h5']
    words += ['--body-model', str(model), '--joint-lookup', str(table)]
    return shlex.join(words + _given(options))


def clean_step(model: str) -> str:
    """Return the command that mends a model, into a new file here."""
    return shlex.join(['smilfit', 'model', 'clean', model, f'{_stem(Path(model))}_clean.smil.json'])


def try_step(model: Path, has_clips: bool) -> str:
    """Return the command that makes a small recording of a model, to try the way to a fit."""
    words = ['smilfit', 'synthesize', str(model), 'made', *(['--clips'] if has_clips else [])]
    return shlex.join([*words, '--sessions', '1', '--frames', '40'])


def training_set_step(model: Path) -> str:
    """Return the command that makes what a network is trained on of a model alone: many looks, few frames of each."""
    words = ['smilfit', 'synthesize', str(model), f'{_stem(model)}.h5', '--sessions', '100', '--frames', '12']
    return shlex.join([*words, '--memory', '0', '--crop-mode', 'default'])


def synthesis_step(made: Path, model: Path, unit: str | None) -> str:
    """Return the command that goes on with made sessions: of a folder, their own table maps what is labelled."""
    if made.suffix == '.h5':
        data = f'train_dataloader.dataset.data_path={made}'
        return shlex.join(['smilfit', 'train', 'configs/train/keypoint_unet.py', '--cfg-options', data])
    return preprocess_step(SLEAP, made, model, made / 'joint_lookup.csv', {'unit': unit})


def fit_step(data_format: str, dataset: Path) -> str | None:
    """Return the command that fits a dataset; None of a format whose fit is for the user to choose."""
    config = {POINTS3D: 'points3d_lm', SLEAP: 'multiview_keypoints_lm'}.get(data_format)
    if config is None:
        return None
    words = ['smilfit', 'fit', f'configs/fit/{config}.py', '--data', str(dataset)]
    return shlex.join([*words, '--out', f'{dataset.stem}_fit'])


def export_step(fit: Path, fps: float | None) -> str:
    """Return the command that writes a fit's animation and angles; `fps` where the recording states none."""
    words = ['smilfit', 'export', str(fit), '--to', 'glb', 'angles', '--out', f'{fit}_animation']
    return shlex.join(words + _given({'fps': fps}))


def no_fps_stated(fps: float) -> str:
    """Report that frames per second are taken for what they may not be."""
    return (
        f'time: the recording states no frames per second; {fps:g} are written below. Put yours in their place: '
        'animations and speeds follow from them.'
    )


def _given(options: Mapping[str, object]) -> list[str]:
    """Write the options that have a value."""
    result = []
    for name, value in options.items():
        if value is not None:
            result += [f'--{name}', f'{value:.10g}' if isinstance(value, float) else str(value)]
    return result


def measure_step(registrations: Path) -> str:
    """Return the command that measures registered scans."""
    out = registrations.with_name(f'{registrations.resolve().name}.csv')
    return shlex.join(['smilfit', 'model', 'measure', str(registrations), '--out', str(out)])


def _stem(recording: Path) -> str:
    return recording.resolve().name.partition('.')[0] or 'recording'
