"""The tools as the fault injector runs them: a command line, and what two results must have in common."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import torch

from tests.hostile.small_inputs import preprocess_arguments

# mmengine's folders of a run (logs, named by the time) and its copy of the config (with the place) are no results.
_LOGS = re.compile(r'\d{8}_\d{6}/|[^/]*\.py$')


@dataclass(frozen=True)
class Tool:
    """A command: `run(inputs, out)` gives its exit code; `before` is what stood in `out` already, or None."""

    run: Callable[[Path, Path], int]
    before: Callable[[Path, Path], int] | None = None


def _preprocess(inputs: Path, out: Path) -> int:
    from smilfit.cli.data.preprocess import main

    return main(preprocess_arguments(inputs, out / 'made.h5'))


def _fit(inputs: Path, out: Path, *more: str) -> int:
    from smilfit.cli.fitting.fit import main

    files = [str(inputs / 'fit.py'), '--data', str(inputs / 'small.h5'), '--out', str(out)]
    return main([*files, '--window-px', '96', '--meshes', 'obj', '--no-verdict', *more])


def _fit_before(inputs: Path, out: Path) -> int:
    """Fit with other stages: what stands there is whole, and of other options."""
    return _fit(inputs, out, '--cfg-options', 'stages.1.n_iter=1')


def _fit_images(inputs: Path, out: Path) -> int:
    from smilfit.cli.fitting.fit_images import main

    return main([
        'coco', str(inputs / 'labels.json'), str(out), '--images', str(inputs / 'pictures'), '--body-model',
        str(inputs / 'animal.smil.json'), '--config', str(inputs / 'pictures.py'), '--window-px', '96',
        '--target-resolution', '64', '--num-workers', '0', '--quiet', '--no-verdict',
    ])  # fmt: skip


def _train(inputs: Path, out: Path) -> int:
    from smilfit.cli.networks.train import main

    resume = ['--resume'] if (out / 'last_checkpoint').is_file() else []
    data = f'train_dataloader.dataset.data_path={inputs / "small.h5"}'
    return main([str(inputs / 'train.py'), '--work-dir', str(out), *resume, '--cfg-options', data])


def _test(inputs: Path, out: Path) -> int:
    from smilfit.cli.networks.testing import main

    checkpoint = str(inputs / 'trained' / 'epoch_2.pth')
    data = f'test_dataloader.dataset.data_path={inputs / "small.h5"}'
    return main([str(inputs / 'train.py'), checkpoint, '--work-dir', str(out), '--cfg-options', data])


TOOLS = {
    'preprocess': Tool(_preprocess),
    'fit': Tool(_fit),
    'fit over another fit': Tool(_fit, _fit_before),
    'fit_images': Tool(_fit_images),
    'train': Tool(_train),
    'test': Tool(_test),
}


def differences(wanted: Path, found: Path) -> list[str]:
    """Compare two folders of results; what is only left over counts as well."""
    names = [{p.relative_to(f).as_posix() for p in f.rglob('*') if p.is_file()} for f in (wanted, found)]
    one, two = ({n for n in some if not _LOGS.match(n)} for some in names)
    problems = [f'{name} is missing' for name in sorted(one - two)]
    problems += [f'{name} is left over' for name in sorted(two - one)]
    return problems + [
        f'{name} differs' for name in sorted(one & two) if not _same(wanted / name, found / name, found)
    ]


def _same(wanted: Path, found: Path, root: Path) -> bool:
    if wanted.read_bytes() == found.read_bytes():
        return True
    if wanted.suffix == '.mp4':
        return all(np.array_equal(a, b) for a, b in zip(*map(_frames, (wanted, found)), strict=True))
    if wanted.suffix in ('.h5', '.npz', '.pth'):
        read = {'.h5': _tables, '.npz': lambda p: dict(np.load(p)), '.pth': _weights}[wanted.suffix]
        one, two = read(wanted), read(found)
        return one.keys() == two.keys() and all(
            np.array_equal(one[n], two[n], equal_nan=_real(one[n])) for n in one
        )
    if wanted.name.endswith('done.json'):
        return _parts(wanted) == _parts(found)
    if wanted.name == 'last_checkpoint':
        return Path(wanted.read_text()).name == Path(found.read_text()).name
    return wanted.suffix in ('.json', '.html', '.txt') and _text(wanted) == _text(found)


def _real(value: Any) -> bool:
    return np.asarray(value).dtype.kind == 'f'


def _frames(path: Path) -> list[np.ndarray]:
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames


def _tables(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = {}
    with h5py.File(path, 'r') as file:
        file.visititems(
            lambda name, item: result.update({name: item[()]} if isinstance(item, h5py.Dataset) else {})
        )
        result |= {f'@{name}': str(value) for name, value in file.attrs.items()}
    return result


def _weights(path: Path) -> dict[str, np.ndarray]:
    stored = torch.load(path, weights_only=True, map_location='cpu')
    result = {f'weights {n}': v.numpy() for n, v in stored['state_dict'].items()}
    moments = stored['optimizer']['state'] if 'optimizer' in stored else {}
    return result | {f'{i} {n}': np.asarray(v) for i, s in moments.items() for n, v in s.items()}


def _parts(path: Path) -> Any:
    """Return what a marker says, but the checksums: two equal videos may differ in bytes, and so may HDF5 files."""
    parts = json.loads(path.read_text())['parts']
    return {n: (p['state'], p['options'], sorted(p['files'])) for n, p in parts.items()}


def _text(path: Path) -> str:
    return path.read_text().replace(str(path.parent), '').replace(str(path.parent.parent), '')
