"""Read a rig of any format, as the file's name ends."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from smilfit.registry import did_you_mean
from smilfit.rigs.rig import Rig

# Suffix -> module and function; imported when needed.
_READERS: dict[str, tuple[str, str]] = {
    '.glb': ('smilfit.rigs.gltf', 'read_gltf'),
    '.gltf': ('smilfit.rigs.gltf', 'read_gltf'),
    # Avatars: glTF under another name.
    '.vrm': ('smilfit.rigs.gltf', 'read_gltf'),
    '.xml': ('smilfit.rigs.mjcf', 'read_mjcf'),
    '.pkl': ('smilfit.rigs.arrays', 'read_arrays'),
    '.npz': ('smilfit.rigs.arrays', 'read_arrays'),
    '.fbx': ('smilfit.rigs.blender.reading', 'read_with_blender'),
    '.blend': ('smilfit.rigs.blender.reading', 'read_with_blender'),
    '.dae': ('smilfit.rigs.blender.reading', 'read_with_blender'),
}
# What is given beside a rig -> the kind that it goes with, and its suffixes.
_BESIDE: dict[str, tuple[str, tuple[str, ...]]] = {
    'skin': ('a MuJoCo model', ('.xml',)),
    'keypoints': ('a MuJoCo model', ('.xml',)),
    'armature': ('what Blender reads', ('.fbx', '.blend', '.dae')),
}


def is_rig(path: str | Path) -> bool:
    """Say whether there is a reader of rigs for files of such a name."""
    return Path(path).suffix.lower() in _READERS


def read_rig(
    path: str | Path,
    skin: str | Path | None = None,
    keypoints: str | Path | None = None,
    armature: str | None = None,
) -> Rig:
    """Read a rig.

    Args:
        path: the file.
        skin: of a MuJoCo model, where it names another or none.
        keypoints: of a MuJoCo model, a table of keypoints and the bodies they hang on.
        armature: of .fbx, .blend and .dae, the name of the one to take where several have meshes of their own.

    Raises:
        ValueError: another kind of file, or one that its reader refuses.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _READERS:
        known = tuple(_READERS)
        raise ValueError(
            f'{path}: a rig must be one of {", ".join(known)}; got {suffix or "no suffix"!r}. '
            f'{did_you_mean(suffix, known)} Other formats: export as glTF 2.0 (.glb).'
        )
    module, function = _READERS[suffix]
    reader: Callable[..., Rig] = getattr(import_module(module), function)
    given = (('skin', skin), ('keypoints', keypoints), ('armature', armature))
    beside = {name: value for name, value in given if value is not None}
    for name in beside:
        kind, suffixes = _BESIDE[name]
        if suffix not in suffixes:
            raise ValueError(
                f'{path}: {name} must go with {kind} ({", ".join(suffixes)}); got {suffix}. Leave it out.'
            )
    return reader(path, **beside)
