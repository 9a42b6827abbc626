"""Predictions block by block, each in a file of its own, so that a run that was killed goes on after the last one."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.apis.inference_network import FramePredictor
from smilfit.apis.inference_recordings import Recording
from smilfit.apis.predictions import Predictions
from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.files import BadFileError, read_npz, reading, replacing
from smilfit.solvers import Processes

logger = logging.getLogger('smilfit')

BLOCKS = 'blocks'


class BlockFiles:
    """Keeps blocks of one run in a folder.

    Args:
        folder: holds the blocks of one run alone.
        fingerprint: names everything that predictions depend on; a block of another one is made again.
        rows: of predictions a frame.
    """

    def __init__(self, folder: Path, fingerprint: str, rows: int = 1) -> None:
        self.folder, self.fingerprint, self.rows = folder, fingerprint, rows

    def write(self, index: int, predictions: Predictions) -> None:
        """Write a block; it appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays = predictions.arrays()
        size = sum(a.nbytes for a in arrays.values())
        with replacing(self._path(index), size) as temporary, temporary.open('wb') as file:
            np.savez(file, fingerprint=np.array(self.fingerprint), **arrays)

    def read(self, index: int, frames: Sequence[int]) -> Predictions | None:
        """Read a block; None where there is none, one of other frames or another run, or a damaged one."""
        path = self._path(index)
        if not path.is_file():
            return None
        try:
            with reading(path, 'a block of predictions'):
                arrays = read_npz(path)
                if str(arrays.pop('fingerprint')) != self.fingerprint:
                    return None
                found = Predictions.of_arrays(arrays)
        except BadFileError as error:
            logger.warning('%s The block is made again.', error)
            return None
        return found if found.frames.tolist() == [f for f in frames for _ in range(self.rows)] else None

    def clear(self) -> None:
        """Delete the blocks: they were joined."""
        for path in (*self.folder.glob('*.npz'), *self.folder.glob('.*.npz')):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, index: int) -> Path:
        return self.folder / f'{index:06d}.npz'


def blocks_of(frames: Sequence[int], size: int) -> list[list[int]]:
    """Divide frames into blocks of a size."""
    return [list(frames[first : first + size]) for first in range(0, len(frames), size)]


def fingerprint_of(record: Mapping[str, Any]) -> str:
    """Give one short name for everything that predictions depend on."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:32]


def predict_blocks(
    recording: Recording,
    predictor: FramePredictor,
    blocks: Sequence[Sequence[int]],
    files: BlockFiles,
    processes: Processes,
    progress: ProgressCallback,
) -> Predictions | None:
    """Predict the blocks that are not there yet, this process its share; the first process joins all.

    The videos are decoded once, in order, for all blocks that a process makes.

    Returns:
        All predictions in the first process; None in the others.
    """
    share = range(len(blocks))[processes.share(len(blocks))]
    wanted = [i for i in share if files.read(i, blocks[i]) is None]
    done = sum(len(blocks[i]) for i in share) - sum(len(blocks[i]) for i in wanted)
    total = sum(len(blocks[i]) for i in share)
    if done:
        logger.info('%s: %d of %d frames are predicted already.', recording.name, done, total)
    task = f'{recording.name}: predicting' + (f' (1 of {processes.count})' if processes.count > 1 else '')
    progress(Progress(task, done, total))
    if wanted:
        # One pass over the videos for all blocks.
        frames = recording.prepared([number for i in wanted for number in blocks[i]])
        for i in wanted:
            parts = []
            for batch in predictor(islice(frames, len(blocks[i]))):
                parts.append(batch)
                done += len(batch) // files.rows
                progress(Progress(task, done, total))
            files.write(i, Predictions.cat(parts))
    # None joins what another still predicts.
    processes.sum(torch.zeros(()))
    if processes.rank != 0:
        return None
    found = []
    for index, block in enumerate(blocks):
        part = files.read(index, block)
        if part is None:
            raise RuntimeError(
                f'{files.folder}: block {index} must be there; it is not. Do all processes see this folder? Give the '
                'same command again.'
            )
        found.append(part)
    return Predictions.cat(found)
