"""What a page may send, by the controls that it has; the rest is left out before viser has it."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

logger = logging.getLogger('smilfit')

# The largest number that any control or place in space has, the longest text, and the most numbers in a row.
_LARGEST, _LONGEST, _MOST = 1e12, 1000, 16
# How many numbers these have.
_LENGTHS = {
    'wxyz': 4,
    'position': 3,
    'look_at': 3,
    'up_direction': 3,
    'ray_origin': 3,
    'ray_direction': 3,
    'screen_pos': 2,
}
_NUMBERS = ('fov', 'near', 'far', 'image_height', 'image_width')
_CONTROL = 'GuiUpdateMessage'
# viser answers many more: to open a tunnel to a server of its makers, to keep a file that is sent, to set any
# attribute of a control. No page here has what these are for.
_KNOWN = {
    'ViewerCameraMessage': {*_LENGTHS, *_NUMBERS} - {'ray_origin', 'ray_direction', 'screen_pos'},
    'SceneNodeClickMessage': {
        'name',
        'instance_index',
        'ray_origin',
        'ray_direction',
        'screen_pos',
        'modifier',
    },
    _CONTROL: {'uuid', 'updates'},
}


class PageMessages:
    """Decides which messages of pages are taken.

    Args:
        decode: bytes of a message -> what it says.

    Attributes:
        controls: uuid -> a viser handle; None before there are any, when only the start tries messages out.
        left_out: how many messages were not taken.
    """

    def __init__(self, decode: Callable[[bytes], Any]) -> None:
        self._decode = decode
        self.controls: Mapping[str, Any] | None = None
        self.left_out = 0
        self._reported: set[str] = set()

    def takes(self, raw: bytes) -> bool:
        """Check whether a message is one that this page's controls send; another is counted, and told once."""
        kind, taken = 'something unreadable', False
        try:
            message = self._decode(raw)
            kind = str(message['type'])
            taken = self._fits(kind, message)
        except Exception as error:
            # Whatever a stranger sends must not end the page.
            logger.debug('view: %r', error)
        if not taken:
            self._leave_out(kind)
        return taken

    def _leave_out(self, kind: str) -> None:
        self.left_out += 1
        if self.controls is None:
            return
        kind = kind if kind.isidentifier() and len(kind) < 60 else 'something unreadable'
        if kind not in self._reported and len(self._reported) < 20:
            self._reported.add(kind)
            logger.warning('view: a page sent what none of its controls sends (%s); it was left out.', kind)

    def _fits(self, kind: str, message: Mapping[str, Any]) -> bool:
        if kind not in _KNOWN or not _KNOWN[kind] <= set(message):
            return False
        if kind == _CONTROL:
            updates, control = message['updates'], (self.controls or {}).get(message['uuid'])
            return control is not None and set(updates) == {'value'} and fits(control, updates['value'])
        return all(
            _numbers(value, _LENGTHS[name])
            if name in _LENGTHS
            else _number(value)
            if name in _NUMBERS
            else _plain(value)
            for name, value in message.items()
        )


def fits(control: Any, value: object) -> bool:
    """Check whether a control of a page can have a value; of a kind that no page has, none."""
    # By name: this file needs no viser.
    kind = type(control).__name__
    if kind in ('GuiCheckboxHandle', 'GuiButtonHandle'):
        return isinstance(value, bool)
    if kind == 'GuiTextHandle':
        return isinstance(value, str) and len(value) <= _LONGEST
    if kind == 'GuiDropdownHandle':
        return isinstance(value, str) and value in control.options
    if kind == 'GuiSliderHandle':
        return _within(value, control)
    if kind == 'GuiMultiSliderHandle':
        return _numbers(value, len(control.value)) and all(_within(v, control) for v in value)
    return False


def _within(value: object, slider: Any) -> bool:
    # A browser's arithmetic may step over an end by a rounding.
    slack = 1e-6 * (slider.max - slider.min)
    return _number(value) and slider.min - slack <= value <= slider.max + slack


def _number(value: object) -> TypeGuard[float]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= _LARGEST and math.isfinite(value)


def _numbers(value: object, count: int) -> TypeGuard[Sequence[float]]:
    return isinstance(value, (list, tuple)) and len(value) == count <= _MOST and all(map(_number, value))


def _plain(value: object) -> bool:
    return (
        value is None
        or isinstance(value, bool)
        or _number(value)
        or (isinstance(value, str) and len(value) <= _LONGEST)
    )


# Markdown makes marks of these, and a browser tags.
_MARKS = frozenset('!"#$%&\'()*+-./:;<=>?@[\\]^_`{|}~')


def plain(text: object) -> str:
    """Write a text of a file or a person so that a page's markdown shows it as it is, and takes nothing for HTML."""
    one_line = ' '.join(str(text).split())
    return ''.join(f'&#{ord(c)};' if c in _MARKS else c for c in one_line)
