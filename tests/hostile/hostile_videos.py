"""Videos of a few kilobytes that would have the decoder go on for hours, or fill the memory."""

import struct
from collections.abc import Callable
from pathlib import Path

from tests.hostile.bombs import Bomb
from tests.hostile.small_annotations import write_video


def _patched(path: Path, width: int = 0, height: int = 0, frames: int = 0) -> Path:
    """Write a short .avi, and have its heads state other sizes and counts."""
    # Frames of JPEG state their own size, raw ones that of the head.
    data = bytearray(write_video(path, **({'codec': 0} if width else {})).read_bytes())
    main, stream, image = data.index(b'avih') + 8, data.index(b'strh') + 8, data.index(b'strf') + 8
    if frames:
        data[main + 16 : main + 20] = data[stream + 32 : stream + 36] = struct.pack('<I', frames)
    if width:
        data[main + 32 : main + 40] = data[image + 4 : image + 12] = struct.pack('<II', width, height)
    path.write_bytes(data)
    return path


def _large(path: Path, _: str = '.avi') -> Path:
    return _patched(path, 10_000, 10_000)


def _counted(path: Path, _: str = '.avi') -> Path:
    return _patched(path, frames=2_000_000_000)


def _long(path: Path, _: str = '.avi') -> Path:
    return _patched(path, 5_000, 5_000, frames=100_000)


def _packets(path: Path, _: str = '.avi') -> Path:
    """Write 400,000 packets of nothing."""
    path = _patched(path)
    data = path.read_bytes()
    start = data.index(b'movi') + 4
    body = b'00dc\x01\0\0\0\0\0' * 400_000
    path.write_bytes(data[: start - 8] + struct.pack('<I', len(body) + 4) + b'movi' + body)
    return path


def _indexed(path: Path, _: str = '.avi') -> Path:
    """Write an index of 400,000 entries that name frames of 2 GB."""
    path = _patched(path, frames=400_000)
    data = path.read_bytes()
    place = data.index(b'idx1')
    entry = (data[place + 8 : place + 20] + struct.pack('<I', 2**31 - 1)) * 400_000
    path.write_bytes(data[:place] + b'idx1' + struct.pack('<I', len(entry)) + entry)
    return path


def _sparse(path: Path, _: str = '.mpg') -> Path:
    """Write the beginning of a file of a terabyte whose rest is a hole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('wb') as file:
        file.write(b'\0\0\1\xba' + bytes(4096))
        file.truncate(1 << 40)
    return path


VIDEOS: dict[str, Callable[..., Path]] = {
    'images of 100 million px': _large,
    'a count of 2,000,000,000 frames': _counted,
    '100,000 frames of 25 million px': _long,
    '400,000 packets of nothing': _packets,
    'an index of 400,000 frames of 2 GB': _indexed,
    'a terabyte of holes': _sparse,
}
_BOARD = ('--board', 'chessboard', '--squares', '8x5', '--square-mm', '10')
# Nothing of these is believed: their frames are read.
READ = ('an index of 400,000 frames of 2 GB',)


def bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files, and give the command lines that read them."""
    found = {}
    for i, (title, write) in enumerate(VIDEOS.items()):
        place = folder / f'boards_{i}' / 'cam'
        place.mkdir(parents=True)
        file = write(place / f'film_{i}{write.__defaults__[0]}')  # type: ignore[index]
        line = ('calibrate', 'boards', str(place.parent), '--out', '{out}', *_BOARD)
        found[title] = Bomb(line, place if title in READ else file, title in READ)
    return found
