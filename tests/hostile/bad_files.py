"""Files that are wrong in one way each, made of good ones."""

import os
import shutil
import zipfile
from pathlib import Path

import torch


def make_bad_inputs(folder: Path, good: dict[str, str]) -> dict[str, str]:
    """Make files that are wrong in one way each; give their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    result = {name: folder / file for name, file in _TEXTS}
    for (name, _), text in zip(_TEXTS, _TEXTS.values()):
        result[name].write_text(text.format(**good), encoding='utf-8')
    result |= _checkpoints(folder, good) | _configs_of(folder, good)
    result['empty_folder'] = folder / 'nothing'
    result['empty_folder'].mkdir()
    result['file'] = folder / 'a_file'
    result['file'].write_text('x')
    result['binary_csv'] = folder / 'latin.csv'
    result['binary_csv'].write_bytes('model,data\nk\xf6rper,nose\n'.encode('utf-16'))
    result['cut_data'] = folder / 'cut.h5'
    data = Path(good['data']).read_bytes()
    result['cut_data'].write_bytes(data[: len(data) // 2])
    result |= _sessions(folder, good)
    return {name: str(path) for name, path in result.items()}


# (name, file) -> text
_TEXTS = {
    ('syntax', 'syntax.py'): 'a = 1\nmodel = dict(\n',
    ('name_error', 'name_error.py'): 'a = 1\n\nb = undefined_name\n',
    ('zero', 'zero.py'): 'def f(x):\n    return 1 / x\n\n\na = f(0)\n',
    ('exits', 'exits.py'): 'import sys\n\nsys.exit(0)\n',
    ('deep', 'deep.py'): 'a = ' + '[' * 150 + ']' * 150 + '\n\n\ndef f():\n    return f()\n\n\nb = f()\n',
    ('imports', 'imports.py'): "a = __import__('no_such_package_here')\n",
    ('empty_config', 'empty.py'): '',
    ('no_config', 'no_config.py'): 'a = 1\n',
    (
        'custom',
        'custom.py',
    ): "custom_imports = dict(imports=['no_such_plugin'], allow_failed_imports=False)\na = 1\n",
    ('broken_plugin', 'broken_plugin.py'): 'value = 1\nraise AttributeError("the plugin is broken")\n',
    ('custom_broken', 'custom_broken.py'): (
        "custom_imports = dict(imports=['broken_plugin'], allow_failed_imports=False)\na = 1\n"
    ),
    ('custom_number', 'custom_number.py'): 'custom_imports = dict(imports=3)\na = 1\n',
    ('base_missing', 'base_missing.py'): "_base_ = ['nowhere.py']\n",
    ('list_json', 'list.json'): '[1, 2]\n',
    ('text', 'notes.txt'): 'not a config\n',
    ('text_pth', 'text.pth'): 'epoch_3.pth hello\n',
    ('empty_pth', 'empty.pth'): '',
    ('empty_csv', 'empty.csv'): '',
    ('wrong_csv', 'wrong.csv'): 'a,b\n1,2\n',
    ('unknown_csv', 'unknown.csv'): 'model,data\nno_such_joint,nose\n',
    ('text_model', 'text.smil.json'): 'not json\n',
    ('list_model', 'list.smil.json'): '[1]\n',
    ('text_pkl', 'text.pkl'): 'not a pickle\n',
    ('text_h5', 'text.h5'): 'not a dataset\n',
    ('text_coco', 'text_coco.json'): 'not json\n',
    ('list_coco', 'list_coco.json'): '[1, 2, 3]\n',
    ('empty_coco', 'empty_coco.json'): '{{"images": [], "annotations": [], "categories": []}}\n',
}


class _Runs:
    """What a pickle would run."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ('owned_by_a_checkpoint',)


def _checkpoints(folder: Path, good: dict[str, str]) -> dict[str, Path]:
    whole = Path(good['checkpoint']).read_bytes()
    entry = torch.load(good['checkpoint'], weights_only=True)
    weights = entry['state_dict']
    first = next(iter(weights))
    looped: list = []
    looped.append(looped)
    doubled: list = [1]
    for _ in range(60):
        doubled = [doubled, doubled]
    saved = {
        'list_pth': [1, 2],
        'no_weights_pth': {'meta': {}},
        'weights_list_pth': {**entry, 'state_dict': [1, 2]},
        'weights_text_pth': {**entry, 'state_dict': {first: 'text'}},
        'meta_list_pth': {**entry, 'meta': [1]},
        'no_epoch_pth': {**entry, 'meta': {}},
        'hub_pth': {**entry, 'message_hub': {'log_scalars': 3}},
        'no_entry_pth': {k: v for k, v in entry.items() if k != 'smilfit'},
        'entry_list_pth': {**entry, 'smilfit': [1]},
        'newer_pth': {**entry, 'smilfit': {**entry['smilfit'], 'format_version': 99}},
        'other_body_pth': {**entry, 'smilfit': {**entry['smilfit'], 'body_model_hash': '0' * 32}},
        'missing_weight_pth': {**entry, 'state_dict': {k: v for k, v in weights.items() if k != first}},
        'left_over_pth': {**entry, 'state_dict': {**weights, 'more.weight': torch.zeros(2)}},
        'shape_pth': {**entry, 'state_dict': {**weights, first: torch.zeros(1, 2, 3)}},
        'code_pth': {**entry, 'x': _Runs()},
        'expanded_pth': {**entry, 'x': torch.zeros(1).expand(100_000, 100_000)},
        'sparse_pth': {**entry, 'x': torch.eye(2).to_sparse()},
        'looped_pth': {**entry, 'x': looped},
        'doubled_pth': {**entry, 'x': doubled},
        'backbone_code_pth': _Runs(),
        'backbone_other_pth': {'a': torch.zeros(2)},
    }
    result = {}
    for name, value in saved.items():
        result[name] = folder / f'{name[:-4]}.pth'
        torch.save(value, result[name])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for name, data in (('cut_pth', whole[: len(whole) // 2]), ('flipped_pth', bytes(flipped))):
        result[name] = folder / f'{name[:-4]}.pth'
        result[name].write_bytes(data)
    result['packed_pth'] = folder / 'packed.pth'
    with (
        zipfile.ZipFile(good['checkpoint']) as source,
        zipfile.ZipFile(result['packed_pth'], 'w', 8) as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info.filename))
    # A work dir whose only checkpoint is cut, one that names a file elsewhere, and one that names none that is there.
    for name, note in (
        ('cut_work', 'epoch_1.pth'),
        ('outside_work', '/etc/passwd'),
        ('gone_work', 'epoch_9.pth'),
    ):
        result[name] = folder / name
        result[name].mkdir()
        (result[name] / 'last_checkpoint').write_text(note)
    (result['cut_work'] / 'epoch_1.pth').write_bytes(whole[: len(whole) // 2])
    return result


def _configs_of(folder: Path, good: dict[str, str]) -> dict[str, Path]:
    """Write the good training config with a part missing, or of a wrong kind."""
    text = Path(good['train']).read_text(encoding='utf-8')
    result = {}
    for name, line in (
        ('model_number', 'model = 3'),
        ('model_unknown', "model['type'] = 'MultiViewRegresor'"),
        ('argument_unknown', "model['loss_wieghts'] = {}"),
        ('loader_text', "train_dataloader = 'all'"),
        ('dataset_none', "train_dataloader['dataset'] = None"),
        ('no_train_cfg', 'train_cfg = None'),
        ('epochs_text', "train_cfg['max_epochs'] = 'many'"),
        ('lr_text', "optim_wrapper['optimizer']['lr'] = 'fast'"),
        ('optimizer_unknown', "optim_wrapper['optimizer']['type'] = 'AdamX'"),
        ('hook_unknown', "custom_hooks = [dict(type='NoSuchHook')]"),
        ('metric_unknown', "test_evaluator = [dict(type='NoSuchMetric')]"),
        ('work_dir_number', 'work_dir = 3'),
    ):
        result[name] = folder / f'{name}.py'
        result[name].write_text(f'{text}\n{line}\n', encoding='utf-8')
    return result


def _sessions(folder: Path, good: dict[str, str]) -> dict[str, Path]:
    """Copy the session, with one thing of it broken."""
    result = {}
    for name in ('no_calibration', 'text_calibration', 'cut_video', 'text_points', 'no_video'):
        root = result[name] = folder / f'sessions_{name}'
        session = root / Path(good['session']).name
        shutil.copytree(good['session'], session)
        camera = session / good['camera']
        videos = [p for p in camera.iterdir() if p.suffix in ('.mp4', '.avi', '.mkv')]
        if name == 'no_calibration':
            (session / 'calibration.toml').unlink()
        elif name == 'text_calibration':
            (session / 'calibration.toml').write_text('[cam\n')
        elif name == 'text_points':
            (session / 'points3d.h5').write_text('no table')
        for video in videos if name in ('cut_video', 'no_video') else ():
            if name == 'cut_video':
                video.write_bytes(video.read_bytes()[:200])
            else:
                video.unlink()
    return result
