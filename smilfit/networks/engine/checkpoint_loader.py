"""Read checkpoints without running code, find the newest one, and check that one belongs to a model."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.tensor_files import check_weight_names, read_tensor_file
from smilfit.networks.training_set import DatasetNames
from smilfit.structures import ModelReference

logger = logging.getLogger('smilfit')

# Beside mmengine's own entries a checkpoint has this one.
ENTRY = 'smilfit'
FORMAT_VERSION = 1
# What a checkpoint holds, or what smilfit added to it.
Entry = Mapping[str, Any]
# Where torch puts the tensors that it reads.
MapLocation = str | torch.device | None

# Schemes for which mmengine has loaders of its own that read pickles or fetch from elsewhere.
_REFUSED = (
    r'(\S+\:)?s3://',
    r'(\S+\:)?petrel://',
    'http://',
    'https://',
    'mmcls://',
    'modelzoo://',
    'open-mmlab://',
    'openmmlab://',
    'pavi://',
    'torchvision://',
)


def read_checkpoint(path: str | Path, map_location: MapLocation = 'cpu') -> Entry:
    """Read a checkpoint file with `weights_only=True` and no extra safe globals.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: a file that torch cannot read so: cut short, no checkpoint, or one that wants to run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such checkpoint. Training writes them to its work dir as epoch_N.pth.'
        )
    checkpoint = read_tensor_file(path, 'a checkpoint', map_location)
    if not isinstance(checkpoint, dict) or 'state_dict' not in checkpoint:
        raise BadFileError(
            f'{path}: a checkpoint must hold a "state_dict"; got {shorten(checkpoint)}. '
            f'Weights of a backbone alone are given as model.backbone.checkpoint.'
        )
    check_weight_names(path, 'a checkpoint', checkpoint['state_dict'])
    for key in ('meta', 'message_hub', ENTRY):
        if not isinstance(checkpoint.get(key, {}), dict):
            raise BadFileError(
                f'{path}: {key} of a checkpoint must be a dict; got {shorten(checkpoint[key])}. Take another one.'
            )
    return checkpoint


def smilfit_entry(path: str | Path, checkpoint: Mapping[str, object]) -> Entry:
    """Return what smilfit added to a checkpoint: data, body model and its hash.

    Raises:
        BadFileError: no such entry, so that nobody can say which body the weights are for, or one of a newer format.
    """
    entry = checkpoint.get(ENTRY)
    if not isinstance(entry, Mapping) or not isinstance(entry.get('body_model_hash'), (str, type(None))):
        raise BadFileError(
            f'{path}: a checkpoint must be of a training by smilfit, which notes the body model in it; this one has '
            f'no entry {ENTRY!r}. Weights of a backbone alone are given as model.backbone.checkpoint.'
        )
    version = entry.get('format_version', FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise BadFileError(
            f'{path}: the format must be version {FORMAT_VERSION} at most; got {shorten(version)}. Update smilfit.'
        )
    return entry


def names_entry(names: DatasetNames, folder: str | Path) -> dict[str, object]:
    """Return the names of a training's data, and its body model, as a checkpoint in `folder` keeps them."""
    result = names.record()
    if names.body_model is not None:
        result['body_model'] = names.body_model.relative_to_folder(folder).record()
        if names.body_model.packed is not None:
            result['packed_body_model'] = torch.frombuffer(
                bytearray(names.body_model.packed), dtype=torch.uint8
            )
    return result


def body_model_of_entry(path: str | Path, entry: Entry) -> ModelReference | None:
    """Read what names the body model of a checkpoint; None where none is named.

    Raises:
        BadFileError: values of a wrong kind.
    """
    record, packed = entry.get('body_model'), entry.get('packed_body_model')
    right = isinstance(record, (Mapping, type(None)))
    if packed is not None:
        right = (
            right and isinstance(packed, torch.Tensor) and packed.dtype == torch.uint8 and packed.ndim == 1
        )
    if not right:
        raise BadFileError(
            f'{path}: body_model in a checkpoint must be of its kind; got {shorten(record)}. Give --body-model FILE.'
        )
    if record is None:
        # Of before its places were kept.
        given = entry.get('body_model_file')
        return ModelReference(given, entry.get('body_model_hash')) if isinstance(given, str) else None
    with reading(Path(path), 'a checkpoint'):
        result = ModelReference.from_record(record, None if packed is None else packed.numpy().tobytes())
    return replace(result, content_hash=entry.get('body_model_hash'))


def load_from_smilfit(filename: str, map_location: MapLocation = None) -> Entry:
    """Read a local checkpoint for mmengine; the name ends in what mmengine logs as the backend."""
    return read_checkpoint(filename, map_location)


def load_from_elsewhere(filename: str, map_location: MapLocation = None) -> NoReturn:
    """Refuse what is not a local file."""
    raise ValueError(f'{filename}: a checkpoint must be a local file. Download it first.')


def install_checkpoint_loader() -> None:
    """Make mmengine's Runner read checkpoints by `read_checkpoint`, and only local ones."""
    # Imported late: reading predictions takes none of the runner.
    from mmengine.runner import CheckpointLoader

    CheckpointLoader.register_scheme('', load_from_smilfit, force=True)
    CheckpointLoader.register_scheme(_REFUSED, load_from_elsewhere, force=True)


def check_body_model(path: str, stored: Mapping[str, object], body_hash: str | None, body_name: str) -> None:
    """Refuse a checkpoint that was trained with another body model.

    Raises:
        ValueError: the hashes differ.
    """
    trained_hash = stored.get('body_model_hash')
    if trained_hash and body_hash and trained_hash != body_hash:
        raise ValueError(
            f'{path}: a checkpoint must be used with the body model it was trained with; trained with '
            f'{stored.get("body_model_file")!r} (hash {trained_hash}), got {body_name!r} (hash {body_hash}). '
            f'Give that file by --body-model.'
        )


def check_weights(
    path: str, model: nn.Module, weights: Mapping[str, torch.Tensor], to_train: bool = False
) -> None:
    """Refuse weights that are not exactly the model's, by name and shape; mmengine would only warn.

    Args:
        path: of the checkpoint.
        model: takes them.
        weights: of the checkpoint.
        to_train: a part that says of itself `adds_nothing_untrained` may be missing as a whole, which is told: the
            model begins as the one that the weights are of.

    Raises:
        ValueError: names the first that differ, or that are no finite numbers.
    """
    own = model.state_dict()
    new = _parts_that_may_be_new(model, weights) if to_train else []
    if new:
        logger.info('%s: has no weights of %s, which begins untrained.', path, ', '.join(new))
    missing = sorted(k for k in own.keys() - weights.keys() if not k.startswith(tuple(f'{n}.' for n in new)))
    left_over = sorted(weights.keys() - own.keys())
    other_shape = sorted(k for k in own.keys() & weights.keys() if own[k].shape != weights[k].shape)
    if not (missing or left_over or other_shape):
        _check_finite(path, weights)
        return
    parts = [
        f'{len(names)} {what} (such as {", ".join(names[:2])})'
        for what, names in (('missing', missing), ('left over', left_over), ('of other shape', other_shape))
        if names
    ]
    raise ValueError(
        f"{path}: the weights must match the model; {'; '.join(parts)}. Use the config of that training's work dir."
    )


def _check_finite(path: str, weights: Mapping[str, torch.Tensor]) -> None:
    bad = sorted(name for name, value in weights.items() if not bool(value.isfinite().all()))
    if bad:
        raise ValueError(
            f'{path}: weights must be finite numbers; those of {len(bad)} arrays are not (such as {bad[0]}). The '
            'training diverged, or the file is damaged: take an earlier checkpoint.'
        )


def _parts_that_may_be_new(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> list[str]:
    return [
        name
        for name, module in model.named_modules()
        if getattr(module, 'adds_nothing_untrained', False)
        and not any(key.startswith(f'{name}.') for key in weights)
    ]


# The file in which mmengine names the newest checkpoint.
LAST = 'last_checkpoint'
_NUMBERED = re.compile(r'(?:epoch|iter)_(\d{1,12})\.pth')
_LONGEST_NAME = 4096


def latest_whole_checkpoint(work_dir: str | Path, out_dir: str | Path | None = None) -> Path:
    """Find the newest checkpoint of a work dir that can be read; one that cannot is skipped and named.

    The file that `last_checkpoint` names comes first, then the others by number. A work dir that was moved is found
    too: only the name of the file counts.

    Args:
        work_dir: of the run.
        out_dir: where the config has checkpoints written, if elsewhere.

    Raises:
        FileNotFoundError: no checkpoint at all.
        BadFileError: none that can be read.
    """
    skipped = []
    for path in _candidates(Path(work_dir), out_dir):
        try:
            smilfit_entry(path, read_checkpoint(path))
        except BadFileError as error:
            skipped.append(error)
            continue
        for reason in skipped:
            logger.warning('--resume: skipped. %s', reason)
        if skipped:
            logger.warning('--resume: goes on from %s.', path)
        return path
    if skipped:
        raise skipped[0]
    raise FileNotFoundError(
        f'--resume: {work_dir} must hold a checkpoint; it holds none. '
        f'Give the checkpoint, or leave --resume out to begin anew.'
    )


def _candidates(work_dir: Path, out_dir: str | Path | None) -> Iterator[Path]:
    folders = [work_dir] if out_dir is None else [Path(out_dir) / work_dir.name, work_dir]
    named = _named(work_dir)
    first = [folder / named for folder in folders if named and (folder / named).is_file()]
    if named and not first:
        logger.warning(
            '--resume: %s names %s, which is not in %s; the newest one there is taken.',
            work_dir / LAST, shorten(named), folders[0],
        )  # fmt: skip
    numbered = [
        (int(match[1]), path)
        for folder in folders
        if folder.is_dir()
        for path in folder.iterdir()
        if (match := _NUMBERED.fullmatch(path.name))
    ]
    yield from first
    yield from (path for _, path in sorted(numbered, reverse=True) if path not in first)


def _named(work_dir: Path) -> str | None:
    """Return the name, without its folder, that `last_checkpoint` holds."""
    note = work_dir / LAST
    if not note.is_file():
        return None
    with note.open('rb') as file:
        text = file.read(_LONGEST_NAME).decode('utf-8', 'replace').strip()
    name = text.replace('\\', '/').rsplit('/', 1)[-1]
    if not name or '\0' in name or name in ('.', '..'):
        logger.warning('--resume: %s is damaged; the newest checkpoint is looked for.', note)
        return None
    return name
