"""One self-contained HTML file: opens from a folder, asks the network for nothing."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from smilfit.drawing.marks import MARKS, Mark
from smilfit.files import write_text

MAX_EMBEDDED_VIDEO_BYTES = 20_000_000
FIGURE_DPI = 130


@runtime_checkable
class Drawable(Protocol):
    """What draws itself into a file: a figure of matplotlib, which is not imported here."""

    def savefig(self, fname: BinaryIO, *, format: str, dpi: int) -> object:
        """Write the figure."""


# A figure, an RGB uint8 image (H, W, 3), or the path or bytes of a PNG or JPEG.
PageImage = Drawable | np.ndarray | str | Path | bytes


class Report:
    """Collect sections of text, tables, figures and images, and write them as one page.

    Its markup is that of `templates/`, where every text is escaped: names of keypoints, cameras and files may hold
    any character.

    Args:
        title: heading of the page.
        summary: what a reader should take home, in plain words; shown at the top.
        folder: where the page will lie: links to files are relative to it. Beside them if None.
    """

    def __init__(
        self, title: str, summary: str | Sequence[str] = (), folder: str | Path | None = None
    ) -> None:
        self.title = title
        self.folder = None if folder is None else Path(folder)
        self.summary = (summary,) if isinstance(summary, str) else tuple(summary)
        self.sections: list[str] = []
        self._parts: list[tuple[str, dict[str, object]]] = []

    def _add(self, kind: str, **facts: object) -> 'Report':
        """Add what the macro `kind` of `templates/parts.html` shows."""
        self._parts.append((kind, facts))
        return self

    def add_section(self, title: str, text: str | Sequence[str] = ()) -> 'Report':
        """Begin a section; a paragraph for each text."""
        self.sections.append(title)
        self._add('section', title=title, number=len(self.sections))
        return self.add_text(*((text,) if isinstance(text, str) else text))

    def add_text(self, *paragraphs: str) -> 'Report':
        """Add paragraphs."""
        for text in paragraphs:
            self._add('text', text=text)
        return self

    def add_numbers(self, numbers: Sequence[tuple[str, str, str]]) -> 'Report':
        """Add large numbers, each as (value with unit, what it is, what to compare it with)."""
        return self._add('numbers', numbers=list(numbers))

    def add_table(self, rows: Sequence[Mapping[str, object]], caption: str = '') -> 'Report':
        """Add a table; the keys of the first row are the columns.

        Raises:
            ValueError: a row with other keys, which would be put under a wrong heading.
        """
        if not rows:
            return self.add_text(f'{caption}: nothing to show.' if caption else 'Nothing to show.')
        columns = list(rows[0])
        for row in rows:
            if list(row) != columns:
                raise ValueError(
                    f'Report.add_table: all rows must have the columns {columns}; got {list(row)}.'
                )
        cells = [[_cell(row[column]) for column in columns] for row in rows]
        return self._add('table', columns=columns, rows=cells, caption=caption)

    def add_figure(self, figure: PageImage, caption: str = '') -> 'Report':
        """Add a matplotlib figure, the path or bytes of a PNG or JPEG, or an RGB uint8 image."""
        return self._add('image', source=_data_uri(figure), caption=caption)

    def add_images(self, images: Sequence[PageImage], captions: Sequence[str] = ()) -> 'Report':
        """Add a grid of images, each as for `add_figure`."""
        captions = list(captions) or [''] * len(images)
        shown = [{'source': _data_uri(p), 'caption': c} for p, c in zip(images, captions, strict=True)]
        return self._add('grid', images=shown)

    def add_legend(self, marks: Sequence[Mark] = MARKS) -> 'Report':
        """Name what the colours of the overlays mean."""
        return self._add('legend', marks=tuple(marks))

    def add_video(self, path: str | Path, caption: str = '', embed: bool = True) -> 'Report':
        """Add an mp4: inside the page where browsers can play it and it has up to 20 MB, else as a link.

        Browsers play H.264, VP9 and AV1.
        """
        path = Path(path)
        size = path.stat().st_size
        embed = embed and size <= MAX_EMBEDDED_VIDEO_BYTES and _plays_in_browsers(path)
        target = path.name if self.folder is None else Path(os.path.relpath(path, self.folder)).as_posix()
        source = f'data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}' if embed else ''
        facts = {'path': quote(target), 'name': path.name, 'size': f'{size / 1e6:.1f} MB'}
        return self._add('video', source=source, caption=caption, **facts)

    def add_link(self, path: str, text: str = '') -> 'Report':
        """Add a link to a file beside the page."""
        return self._add('link', path=path, text=text or path)

    def html(self) -> str:
        """Render the page."""
        page = _templates().get_template('page.html')
        return page.render(title=self.title, summary=self.summary, sections=self.sections, parts=self._parts)

    def save(self, path: str | Path) -> Path:
        """Write the page; it appears whole or not at all."""
        return write_text(path, self.html())


@lru_cache(1)
def _templates() -> Environment:
    """Read the templates beside this file, which escape every text and refuse a fact that is not given."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name('templates')),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def figure_png(figure: Drawable, dpi: int = FIGURE_DPI) -> bytes:
    """Draw a matplotlib figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi)
    return buffer.getvalue()


def _plays_in_browsers(path: Path) -> bool:
    data = path.read_bytes()
    return any(entry in data for entry in (b'avc1', b'vp09', b'av01'))


def _cell(value: object) -> tuple[str, bool]:
    """Return a cell's text, and whether it is a number."""
    if value is None:
        return '–', True
    if isinstance(value, (float, np.floating)):
        return f'{value:.4g}', True
    return str(value), isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _data_uri(image: PageImage) -> str:
    if isinstance(image, Drawable):
        data = figure_png(image)
    elif isinstance(image, (str, Path)):
        data = Path(image).read_bytes()
    elif isinstance(image, np.ndarray):
        data = _encode(image)
    else:
        data = bytes(image)
    if data[:4] == b'\x89PNG':
        kind = 'png'
    elif data[:3] == b'\xff\xd8\xff':
        kind = 'jpeg'
    else:
        raise ValueError(f'Report: an image must be PNG or JPEG; got bytes that begin with {data[:8]!r}.')
    return f'data:image/{kind};base64,{base64.b64encode(data).decode()}'


def _encode(image: np.ndarray) -> bytes:
    import cv2

    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f'Report: an image must be RGB uint8 (H, W, 3); got {image.dtype} {image.shape}.')
    ok, data = cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not ok:
        raise ValueError(f'Report: the image of shape {image.shape} could not be written as JPEG.')
    return data.tobytes()
