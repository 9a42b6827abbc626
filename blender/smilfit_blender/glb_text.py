"""The text part of a binary glTF file. Without Blender."""

import json
import struct
from pathlib import Path

from .errors import AddonError

_MAGIC, _JSON = 0x46546C67, 0x4E4F534A
_MOST_BYTES = 1 << 30


def glb_document(path):
    """Read the JSON of a `.glb`.

    Raises:
        AddonError: another file, or a damaged one.
    """
    try:
        with Path(path).open('rb') as file:
            magic, _, _, length, kind = struct.unpack('<5I', file.read(20))
            if magic != _MAGIC or kind != _JSON or length > _MOST_BYTES:
                raise ValueError('it does not begin as one')
            found = json.loads(file.read(length))
            if not isinstance(found, dict):
                raise ValueError('its text is no object')
    except (OSError, ValueError, struct.error, RecursionError) as error:
        raise AddonError(f'{path}: must be a binary glTF file (.glb); {error}') from None
    return found
