"""Images, masks and videos that are none, are cut, state sizes that no memory has, or lead elsewhere."""

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.hostile.small_annotations import (
    HEIGHT,
    IMAGES,
    WIDTH,
    animal3d_content,
    coco_content,
    write_images,
    write_json,
    write_video,
)

_ENDLESS = 30_000
_MASKS = ('endless', 'cut', 'pipe')


def hostile_images(folder: Path) -> Iterator[tuple[str, Any]]:
    """Make an image set with one such image each, sets with such a mask, and videos."""
    from tests.hostile.hostile_annotations import Hostile

    for what, write in _IMAGES.items():
        for form in ('picture', 'mask') if what in _MASKS else ('picture',):
            place = folder / 'inside' / f'{form}_{what}'
            write_images(place)
            content: Any = coco_content() if form == 'picture' else animal3d_content()
            if form == 'picture':
                content['images'][1]['file_name'] = 'c.png'
            else:
                content['data'][1]['mask_path'] = 'c.png'
            write(place / 'c.png')
            kind = 'coco' if form == 'picture' else 'animal3d'
            yield f'{form}_{what}', Hostile(kind, write_json(place / 'labels.json', content), 1)
    place = folder / 'inside' / 'harmless_exif'
    write_images(place)
    _damaged_exif(place / IMAGES[1])
    yield 'harmless_exif', Hostile('coco', write_json(place / 'labels.json', coco_content()), 2)
    yield from _videos(folder)


def png(width: int, height: int, rows: bytes = b'') -> bytes:
    """Make a grey PNG that states a size, whatever it holds."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    head = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (
        b'\x89PNG\r\n\x1a\n' + part(b'IHDR', head) + part(b'IDAT', zlib.compress(rows)) + part(b'IEND', b'')
    )


def _tiff(path: Path, entries: list[tuple[int, int, int, int]], next_page: int = 0) -> None:
    tags = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    path.write_bytes(
        b'II*\0' + struct.pack('<IH', 8, len(entries)) + tags + struct.pack('<I', next_page) + b'\0' * 64
    )


def _huge_tiff(path: Path) -> None:
    side = 60_000
    _tiff(path, [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
                 (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, side), (279, 4, 1, 64)])  # fmt: skip


def _tiff_of_long_tags(path: Path) -> None:
    _tiff(path, [(256, 4, 1 << 30, 8), (257, 4, 1, 5), (273, 4, 1 << 31, 8)], next_page=8)


def _postscript(path: Path) -> None:
    path.write_bytes(
        b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n(x) print\nshowpage\n'
    )


def _cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])


def _damaged_exif(path: Path) -> None:
    exif = b'Exif\0\0II*\0\x08\0\0\0' + struct.pack('<HHHII', 1, 0x0112, 2, 1 << 20, 1 << 30)
    Image.open(path).save(path, exif=exif)


def _gif_of_a_large_page(path: Path) -> None:
    path.write_bytes(b'GIF89a' + struct.pack('<HHBBB', 65_535, 65_535, 0x80, 0, 0) + b'\0' * 6
                     + b',' + struct.pack('<HHHHB', 0, 0, 65_535, 65_535, 0) + b'\x02\x02L\x01\0;')  # fmt: skip


_IMAGES: dict[str, Callable[[Path], Any]] = {
    'endless': lambda path: path.write_bytes(png(_ENDLESS, _ENDLESS)),
    'over_the_limit': lambda path: path.write_bytes(png(12_000, 10_001)),
    'no_rows': lambda path: path.write_bytes(png(WIDTH, HEIGHT)),
    'cut': _cut,
    'text': lambda path: path.write_text('no image'),
    'missing': lambda path: None,
    'pipe': os.mkfifo,
    'postscript': _postscript,
    'huge_tiff': _huge_tiff,
    'long_tags': _tiff_of_long_tags,
    'large_gif': _gif_of_a_large_page,
}


def _videos(folder: Path) -> Iterator[tuple[str, Any]]:
    from tests.hostile.hostile_annotations import Hostile

    place = folder / 'inside' / 'videos'
    place.mkdir(parents=True)
    film = write_video(place / 'whole.avi').read_bytes()
    sizes = bytearray(write_video(place / 'raw.avi', codec=0).read_bytes())
    # Uncompressed frames are of the size that the stream's header states.
    struct.pack_into('<ii', sizes, sizes.index(b'strf') + 12, 12_000, 10_001)
    files = {
        'video_empty': b'',
        'video_text': b'no video at all, but text that goes on for a while',
        'video_playlist': f'#EXTM3U\n#EXTINF:1,\n{folder}/outside/{IMAGES[0]}\n#EXT-X-ENDLIST\n'.encode(),
        'video_concat': f'ffconcat version 1.0\nfile {folder}/outside/{IMAGES[0]}\n\0'.encode(),
        'video_cut': film[:200],
        'video_sizes': bytes(sizes),
        'video_noise': bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)),
    }
    for name, data in files.items():
        path = place / f'{name}.avi'
        path.write_bytes(data)
        yield name, Hostile('video', path, None)
