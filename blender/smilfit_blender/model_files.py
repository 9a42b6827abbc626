"""Models from and to files: `.smil.json` here, all else by smilfit."""

import tempfile
from pathlib import Path

from .commands import run_smilfit
from .document import names_of, read_document, write_document
from .errors import AddonError
from .glb_text import glb_document
from .merging import merge
from .model_building import document_of, put_model
from .model_reading import read_model

SUFFIX = '.smil.json'
_ARRAYS = ('.pkl', '.npz')
SHIPPED = ('quadruped', 'insect')
# Of `smilfit model convert`: written, but something is not held by the format.
_WITH_DOUBTS = 3
_OURS = 'smilfit_body_model'


def load_model(context, path, limits=''):
    """Read a model from a file of any kind, or a shipped one by name; gives the document and what was told."""
    name = str(path)
    if name.endswith(SUFFIX):
        return read_document(path), []
    with tempfile.TemporaryDirectory(prefix='smilfit-') as folder:
        target = Path(folder) / f'model{SUFFIX}'
        told = _make(context, name, target, ['--limits', limits] if limits else [])
        document = read_document(target)
    document['name'] = document.get('name') if name in SHIPPED else Path(name).stem
    return document, told


def _make(context, name, target, options):
    """Let smilfit write a model: models are converted, rigs of other programs imported."""
    if name in SHIPPED or _is_model(name):
        try:
            return run_smilfit(context, 'model', 'convert', name, target, allowed=(0, _WITH_DOUBTS))
        except AddonError as error:
            # Arrays of other labs have the same endings.
            if Path(name).suffix.lower() not in _ARRAYS:
                raise
            refused = error
        try:
            return run_smilfit(context, 'model', 'import', name, target, *options, allowed=(0, _WITH_DOUBTS))
        except AddonError as error:
            raise AddonError(f'{refused}\n{error}') from None
    return run_smilfit(context, 'model', 'import', name, target, *options, allowed=(0, _WITH_DOUBTS))


def _is_model(path):
    """Say whether a file is, or may be, a model already, and no rig of another program."""
    path = Path(path)
    if not path.is_file():
        raise AddonError(f'{path}: must be a file; it is not there.')
    if path.suffix.lower() == '.glb':
        return _OURS in (glb_document(path).get('asset', {}).get('extras') or {})
    return path.suffix.lower() in _ARRAYS


def current_document(context, armature, body):
    """Give the document of a model as it stands in Blender, and what was told.

    Where bones were moved, or the skin that tells where joints are, smilfit fits the joint regressor to the bones.
    """
    before = document_of(body)
    document, told, off = merge(before, read_model(armature, body, names_of(before)))
    if off:
        document, more = through_smilfit(context, document, 'edit', '--joints', 'fit')
        told += more
    return document, told


def through_smilfit(context, document, command, *options):
    """Send a document through `smilfit model COMMAND`; gives the new one and what was told."""
    with tempfile.TemporaryDirectory(prefix='smilfit-') as folder:
        source, target = Path(folder) / f'before{SUFFIX}', Path(folder) / f'after{SUFFIX}'
        write_document(document, source)
        told = run_smilfit(context, 'model', command, source, target, *options)
        # The last line says where it was written.
        return read_document(target), told[:-1]


def save_model(context, armature, body, path):
    """Write a model in the format of the name's ending; gives what was told. What is there is written over."""
    document, told = current_document(context, armature, body)
    path = Path(path)
    if path.name.endswith(SUFFIX):
        with tempfile.TemporaryDirectory(prefix='smilfit-', dir=path.parent) as folder:
            whole = Path(folder) / path.name
            write_document(document, whole)
            whole.replace(path)
        return told
    with tempfile.TemporaryDirectory(prefix='smilfit-') as folder:
        source, target = Path(folder) / f'model{SUFFIX}', Path(folder) / path.name
        write_document(document, source)
        told += run_smilfit(context, 'model', 'convert', source, target, allowed=(0, _WITH_DOUBTS))
        path.write_bytes(target.read_bytes())
    return told


def change_model(context, armature, body, command, *options):
    """Send the chosen model through a command of smilfit, and show what came back in its place."""
    document, told = current_document(context, armature, body)
    document, more = through_smilfit(context, document, command, *options)
    put_model(context, armature, body, document)
    return [*told, *more]
