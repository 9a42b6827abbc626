"""One self-contained HTML file: opens from a folder, asks the network for nothing."""

import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from smilfit.files import write_text
from smilfit.visualization.marks import MARKS, Mark
from smilfit.visualization.report_style import STYLE

MAX_EMBEDDED_VIDEO_BYTES = 20_000_000
FIGURE_DPI = 130


class Report:
    """Collect sections of text, tables, figures and images, and write them as one page.

    Every text is escaped: names of keypoints, cameras and files may hold any character.

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
        self._parts: list[str] = []

    def add_section(self, title: str, text: str | Sequence[str] = ()) -> 'Report':
        """Begin a section; a paragraph for each text."""
        self.sections.append(title)
        self._parts.append(f'<h2 id="s{len(self.sections)}">{html.escape(title)}</h2>')
        return self.add_text(*((text,) if isinstance(text, str) else text))

    def add_text(self, *paragraphs: str) -> 'Report':
        """Add paragraphs."""
        self._parts += [f'<p>{html.escape(text)}</p>' for text in paragraphs]
        return self

    def add_numbers(self, numbers: Sequence[tuple[str, str, str]]) -> 'Report':
        """Add large numbers, each as (value with unit, what it is, what to compare it with)."""
        cards = ''.join(
            f'<div class="card"><div class="value">{html.escape(value)}</div>'
            f'<div class="label">{html.escape(label)}</div><div class="note">{html.escape(note)}</div></div>'
            for value, label, note in numbers
        )
        self._parts.append(f'<div class="cards">{cards}</div>')
        return self

    def add_table(self, rows: Sequence[Mapping[str, Any]], caption: str = '') -> 'Report':
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
        head = ''.join(f'<th>{html.escape(str(column))}</th>' for column in columns)
        body = ''.join('<tr>' + ''.join(_cell(row[c]) for c in columns) + '</tr>' for row in rows)
        text = f'<caption>{html.escape(caption)}</caption>' if caption else ''
        self._parts.append(
            f'<div class="scroll"><table>{text}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        )
        return self

    def add_figure(self, figure: Any, caption: str = '') -> 'Report':
        """Add a matplotlib figure, the path or bytes of a PNG or JPEG, or an RGB uint8 image."""
        self._parts.append(_figure(_data_uri(figure), caption))
        return self

    def add_images(self, images: Sequence[Any], captions: Sequence[str] = ()) -> 'Report':
        """Add a grid of images, each as for `add_figure`."""
        captions = list(captions) or [''] * len(images)
        cells = ''.join(_figure(_data_uri(p), c) for p, c in zip(images, captions, strict=True))
        self._parts.append(f'<div class="grid">{cells}</div>')
        return self

    def add_pictures(self, images: Sequence[Any], captions: Sequence[str] = ()) -> 'Report':
        """Deprecated name of `add_images`."""
        return self.add_images(images, captions)

    def add_legend(self, marks: Sequence[Mark] = MARKS) -> 'Report':
        """Say what the colours of the overlays mean."""
        items = ''.join(f'<span><i style="{m.css}"></i>{html.escape(m.word)}</span>' for m in marks)
        self._parts.append(f'<p class="legend">{items}</p>')
        return self

    def add_video(self, path: str | Path, caption: str = '', embed: bool = True) -> 'Report':
        """Add an mp4: inside the page where browsers can play it and it has up to 20 MB, else as a link.

        Browsers play H.264, VP9 and AV1.
        """
        path = Path(path)
        size = path.stat().st_size
        embed = embed and size <= MAX_EMBEDDED_VIDEO_BYTES and _plays_in_browsers(path)
        target = path.name if self.folder is None else Path(os.path.relpath(path, self.folder)).as_posix()
        link = f'<a href="{html.escape(quote(target), quote=True)}">{html.escape(path.name)}</a>'
        if embed:
            source = f'data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}'
            inner = f'<video controls muted loop src="{source}"></video>'
            note = f'{html.escape(caption)} (as a file: {link})'
        else:
            inner, note = '', f'{html.escape(caption)} {link} ({size / 1e6:.1f} MB)'
        self._parts.append(f'<figure>{inner}<figcaption>{note}</figcaption></figure>')
        return self

    def add_link(self, path: str, text: str = '') -> 'Report':
        """Add a link to a file beside the page."""
        target = html.escape(path, quote=True)
        self._parts.append(f'<p><a href="{target}">{html.escape(text or path)}</a></p>')
        return self

    def html(self) -> str:
        """Give the page."""
        title = html.escape(self.title)
        summary = ''.join(f'<p>{html.escape(text)}</p>' for text in self.summary)
        summary = f'<div class="summary">{summary}</div>' if summary else ''
        items = ''.join(f'<a href="#s{i}">{html.escape(text)}</a>' for i, text in enumerate(self.sections, 1))
        contents = f'<nav>{items}</nav>' if len(self.sections) > 1 else ''
        body = '\n'.join(self._parts)
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            # Nothing outside the page is ever asked for, and no script runs.
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "media-src data:; style-src 'unsafe-inline'\">\n"
            f'<style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>{summary}{contents}\n{body}\n'
            '</main></body></html>\n'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page; it appears whole or not at all."""
        return write_text(path, self.html())


def figure_png(figure: Any, dpi: int = FIGURE_DPI) -> bytes:
    """Draw a matplotlib figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', dpi=dpi)
    return buffer.getvalue()


def _plays_in_browsers(path: Path) -> bool:
    data = path.read_bytes()
    return any(entry in data for entry in (b'avc1', b'vp09', b'av01'))


def _cell(value: Any) -> str:
    if value is None:
        return '<td class="number">–</td>'
    if isinstance(value, (float, np.floating)):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    return f'<td>{html.escape(str(value))}</td>'


def _figure(uri: str, caption: str) -> str:
    text = html.escape(caption)
    note = f'<figcaption>{text}</figcaption>' if caption else ''
    return f'<figure><img alt="{html.escape(caption, quote=True)}" src="{uri}">{note}</figure>'


def _data_uri(image: Any) -> str:
    if hasattr(image, 'savefig'):
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
