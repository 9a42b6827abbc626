"""A body model from one file format to another, with word of what is lost, and the file read back and compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files import load_body_model_data, save_body_model
from smilfit.body_models.shipped_models import find_body_model
from smilfit.body_models.smal_parts import with_smal_parts
from smilfit.body_models.smal_writer import write_smal_file
from smilfit.body_models.stored_model import StoredModel, read_stored_model
from smilfit.rigs.building import build_model, naming_file
from smilfit.rigs.comparing import body_difference
from smilfit.rigs.model_gltf import holds_body_model, read_model_gltf, write_model_gltf
from smilfit.rigs.read_rig import is_rig, read_rig
from smilfit.rigs.rig import Rig


class Conversion(NamedTuple):
    """What became of a model.

    `lost` says in words what the new file does not hold; `difference` is how far the bodies of both files lie apart
    at most, a share of the body's size.
    """

    data: BodyModelData
    lost: tuple[str, ...]
    difference: float


def _write_smil_json(data: BodyModelData, path: Path) -> tuple[str, ...]:
    save_body_model(data, path)
    return ()


GLTF = ('.glb', '.gltf')
_MODELS = ('.json', '.pkl', '.npz')

WRITERS: dict[str, Callable[[BodyModelData, Path], tuple[str, ...]]] = {
    '.smil.json': _write_smil_json,
    '.pkl': write_smal_file,
    '.npz': write_smal_file,
    '.glb': write_model_gltf,
}


def convert_model(
    source: str | Path, target: str | Path, parts: Mapping[str, Any] | None = None
) -> Conversion:
    """Read a body model and write it in the format of the new name's ending.

    Args:
        source: a body model's file, or the name of a shipped model.
        target: a file that is not there yet: `.smil.json`, `.pkl`, `.npz` or `.glb`.
        parts: of a model of SMAL, what its other files say: arguments of `with_smal_parts` by name.

    Raises:
        FileExistsError: the new file is there.
        ValueError: a file that breaks a rule, or an ending that has no writer.
    """
    target = Path(target)
    writer = next((WRITERS[ending] for ending in WRITERS if target.name.endswith(ending)), None)
    if writer is None:
        raise ValueError(
            f'{target}: a body model is written as {", ".join(WRITERS)}; got {target.suffix!r}. Choose one of them.'
        )
    if target.exists():
        raise FileExistsError(f'{target}: the new file must not be there yet; it is. Give another name.')
    data = read_model(source)
    if parts:
        data = with_smal_parts(data, **parts)
    lost = writer(data, target)
    return Conversion(data, lost, body_difference(data, read_model(target)))


def read_model(path: str | Path) -> BodyModelData:
    """Read a body model in any of the formats that this module writes, or a shipped model by name.

    Raises:
        ValueError: a file that breaks a rule, or a glTF of another program.
    """
    if Path(path).suffix.lower() in GLTF:
        return read_model_gltf(path)
    return load_body_model_data(path)


def open_model(name_or_path: str | Path) -> tuple[StoredModel, Path]:
    """Open a model as its file has it, and say which file that is; of a rig, the model that importing makes of it.

    Raises:
        FileNotFoundError: no such file or shipped model.
        ValueError: a file that is no body model.
    """
    path = find_body_model(name_or_path)
    if path.suffix.lower() in GLTF and holds_body_model(path):
        return StoredModel(read_model_gltf(path)), path
    if path.name.endswith(_MODELS):
        return _stored(path), path
    return _built(path, read_rig(path)) if is_rig(path) else read_stored_model(path), path


def _stored(path: Path) -> StoredModel:
    """Read a model, or a rig of another layout; of what is neither, the reader of models says what is wrong."""
    try:
        return read_stored_model(path)
    except ValueError as error:
        if not is_rig(path):
            raise
        try:
            rig = read_rig(path)
        except ValueError:
            raise error from None
    return _built(path, rig)


def _built(path: Path, rig: Rig) -> StoredModel:
    with naming_file(path, rig):
        return StoredModel(build_model(rig)[0])
