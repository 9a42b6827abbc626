"""Textures: the image of a material's base colour, as PNG or JPEG."""

import os
import tempfile

import bpy
import numpy as np

_MAGIC = (b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff')


class ImageTable:
    """Images that materials show, each under a number; those that cannot be had are told."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes
        self.data: list[bytes] = []
        self._numbers: dict[str, int] = {}
        self._lost: list[str] = []

    def number(self, image: bpy.types.Image | None) -> int:
        """Give an image's number; -1 where there is none or it cannot be read."""
        if image is None:
            return -1
        if image.name not in self._numbers:
            data = _stored(image)
            self._numbers[image.name] = -1 if data is None else len(self.data)
            if data is None:
                self._lost.append(os.path.basename(image.filepath.replace('\\', '/')) or image.name)
            else:
                self.data.append(data)
        return self._numbers[image.name]

    def write(self, arrays: dict[str, np.ndarray]) -> None:
        """Write the images' bytes, and tell of those that are missing."""
        for number, data in enumerate(self.data):
            arrays[f'image{number}'] = np.frombuffer(data, np.uint8)
        if self._lost:
            self.notes.append(
                f'{len(self._lost)} textures are missing or no images: {", ".join(self._lost[:5])}.'
            )


def base_image(material: bpy.types.Material | None) -> bpy.types.Image | None:
    """Find the image that a material's base colour, or whatever is nearest to one, comes from."""
    tree = material.node_tree if material is not None else None
    if tree is None:
        return None
    shaders = [
        node
        for node in tree.nodes
        if node.type in ('BSDF_PRINCIPLED', 'BSDF_DIFFUSE', 'EMISSION', 'EEVEE_SPECULAR')
    ]
    sockets = [s for node in shaders for s in node.inputs if s.name in ('Base Color', 'Color')]
    waiting = [link.from_node for socket in sockets for link in socket.links]
    seen = set()
    while waiting:
        node = waiting.pop(0)
        if node.name in seen:
            continue
        seen.add(node.name)
        if node.type == 'TEX_IMAGE' and node.image is not None:
            return node.image
        waiting += [link.from_node for socket in node.inputs for link in socket.links]
    return None


def _stored(image: bpy.types.Image) -> bytes | None:
    """Give an image's file as it is, if it is PNG or JPEG, else as PNG."""
    data = b''
    if image.packed_file is not None:
        data = bytes(image.packed_file.data)
    elif image.source == 'FILE':
        path = bpy.path.abspath(image.filepath_from_user())
        if os.path.isfile(path):
            with open(path, 'rb') as file:
                data = file.read()
    if data.startswith(_MAGIC):
        return data
    if not image.has_data and not len(image.pixels):
        return None
    path = os.path.join(tempfile.mkdtemp(), 'image.png')
    copy = image.copy()
    copy.filepath_raw, copy.file_format = path, 'PNG'
    try:
        copy.save()
    except RuntimeError:
        return None
    with open(path, 'rb') as file:
        return file.read()
