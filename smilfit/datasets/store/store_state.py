"""What stands of a dataset file already: whole, to be continued, or to be made again."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

import h5py

from smilfit.datasets.store.store_layout import PARTIAL_SUFFIX, StoreHeader
from smilfit.datasets.store.store_reader import DatasetFile
from smilfit.files import BadFileError, MadeOf, OutputFolder, reading, write_text

logger = logging.getLogger('smilfit')

PART = 'dataset'
REPORT = '.report.json'


def outputs_of(path: Path) -> OutputFolder:
    """Return the transaction of a dataset file, whose marker lies beside it."""
    return OutputFolder(path.parent, f'{path.name}.done.json')


def made_of(header: StoreHeader) -> MadeOf:
    """Return what a dataset file depends on."""
    return MadeOf({'fingerprint': header.fingerprint, 'body_model': header.body_model_hash}, header.options)


def is_made(path: Path, header: StoreHeader) -> bool:
    """Check whether the file of these inputs is there and whole; a damaged one, or one without marker, is looked at.

    Raises:
        FileExistsError: another file stands there.
    """
    outputs = outputs_of(path)
    reason = outputs.reason_to_make(PART, made_of(header))
    if reason is None:
        return True
    if not path.exists():
        return False
    ours = outputs.made_of(PART) == made_of(header).record()
    instead = ''
    try:
        valid = DatasetFile(path)
        same, whole = valid.fingerprint == header.fingerprint, True
        instead = _other_body(valid, header)
        if same:
            check_whole(path)
    except (ValueError, OSError, KeyError) as error:
        same, whole = ours, False
        damage = error
    if not same:
        raise FileExistsError(
            f'{path}: the dataset must not exist yet, or come from the same inputs and options; it does not. '
            f'{instead}Otherwise choose another name, or overwrite it with --overwrite.'
        )
    if not whole:
        logger.warning('%s The dataset is made again.', damage)
    return whole


def _other_body(stored: DatasetFile, header: StoreHeader) -> str:
    """Return what to do where nothing but the body model is another one: images need not be cut again."""
    names = tuple(session.name for session in header.sessions)
    same = set(stored.keypoint_names) == set(header.keypoint_names) and stored.session_names == names
    # As a file keeps them: its lists are lists.
    same = same and dict(stored.options) == json.loads(json.dumps(dict(header.options)))
    # Known parameters are of one model alone.
    known = header.with_params or any(session.betas is not None for session in header.sessions)
    if not same or known or stored.body_model_hash == header.body_model_hash:
        return ''
    model = header.body_model_file or 'FILE'
    return (
        f'It holds the same sessions and keypoints for another body model, {stored.body_model_file}. Nothing need be '
        f'decoded again to fit {model} to it: give --body-model {model} to fit, with --data {stored.path}. '
    )


def finish_store(path: Path, whole: Path, header: StoreHeader, report: Mapping[str, object]) -> None:
    """Return a whole file its name, with the report and the marker beside it; does nothing where all is so
    already."""
    outputs, name = outputs_of(path), f'{path.name}{REPORT}'
    text = json.dumps(report, indent=1) + '\n'
    beside = path.with_name(name)
    report_is_whole = beside.is_file() and beside.read_bytes() == text.encode()
    if whole == path and report_is_whole and outputs.reason_to_make(PART, made_of(header)) is None:
        return
    staged = write_text(path.with_name(f'{name}{PARTIAL_SUFFIX}'), text)
    outputs.publish(PART, made_of(header), {path.name: whole, name: staged})


def check_partial(path: Path) -> tuple[str, int]:
    """Check a file that a stopped writer left.

    Returns:
        Its fingerprint, and how many of its samples are whole.

    Raises:
        ValueError: damaged.
    """
    check_whole(path)
    with reading(path, 'a partial dataset'), h5py.File(path, 'r') as file:
        fingerprint, n = str(file.attrs['fingerprint']), int(file.attrs['n_complete'])
        short = [name for name, table in file['samples'].items() if len(table) < n]
        if short or n < 0:
            raise BadFileError(f'{path}: all tables must hold {n} samples; {short} do not. It is begun anew.')
    return fingerprint, n


def check_whole(path: str | Path) -> None:
    """Read all of an HDF5 file once, a chunk at a time, so that every checksum is looked at.

    Raises:
        ValueError: damaged.
    """
    with reading(path, 'a dataset'), h5py.File(path, 'r') as file:
        _read_all(file)


def _read_all(group: h5py.Group) -> None:
    for item in group.values():
        if isinstance(item, h5py.Group):
            _read_all(item)
        elif item.size == 0:
            continue
        elif item.chunks is None:
            _ = item[()]
        else:
            for chunk in item.iter_chunks():
                _ = item[chunk]
