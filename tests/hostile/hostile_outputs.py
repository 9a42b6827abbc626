"""Results folders that a stranger made, with links by which a writer would change what lies elsewhere. POSIX only.

Every attack has a folder with `out`, which is hostile, and `victim`, which must stay as it is to the last byte.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.fit_exporting import export_fit
from smilfit.apis.output_paths import check_output_folder
from smilfit.body_models import load_body_model
from smilfit.datasets import StoreWriter
from smilfit.files import MadeOf, OutputFolder, OutputLock, write_text
from smilfit.structures import BodyParams, FitResult
from tests.hostile.sandbox import Outcome, run_cases
from tests.hostile.small_files import small_header, write_small_store

PART, MADE_OF = 'meshes', MadeOf({'data': 'abc'}, {'kind': 'obj'})
SECRET = 'a file of the user'
# Names in the folder of victims that a writer of results would take for its own.
VICTIMS = (
    '0.obj',
    '000000.obj',
    'fit.npz',
    'done.json',
    'meshes/0.obj',
    'dlc/a.csv',
    '000000.npz',
    'session_000/a',
)
_HARD = 'hard link'


def hostile_outputs(folder: Path) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Make all attacks below a folder, let a writer run into each, and say what is wrong with what became of it."""
    places = {name: folder / name for name in ATTACKS}
    for place in places.values():
        lay(place)
    before = {name: contents(place / 'victim') for name, place in places.items()}
    result = run_cases(f'{__name__}:write', places, seconds=60.0)
    return result, {name: judge(case, places[name], before[name]) for name, case in result.items()}


def lay(place: Path) -> None:
    """Make the hostile folder that a place is called after, and the victims beside it."""
    victim, out = place / 'victim', place / 'out'
    for name in VICTIMS:
        (victim / name).parent.mkdir(parents=True, exist_ok=True)
        (victim / name).write_text(SECRET)
    out.mkdir()
    ATTACKS[place.name][0](out, victim)


def write(place: Path) -> str:
    """Write into the hostile folder as a command does."""
    ATTACKS[place.name][1](place / 'out')
    return 'written'


def contents(folder: Path) -> dict[str, str | bytes]:
    """Return all that lies below a folder, by name: a file's content, a link's target."""
    result: dict[str, str | bytes] = {}
    for path in sorted(folder.rglob('*')):
        if path.is_symlink():
            content: str | bytes = os.readlink(path)
        else:
            content = path.read_bytes() if path.is_file() else ''
        result[path.relative_to(folder).as_posix()] = content
    return result


def judge(case: Outcome, place: Path, before: dict[str, str | bytes]) -> str:
    """Return what is wrong with the outcome of an attack; nothing should be."""
    if contents(place / 'victim') != before:
        return 'something outside the results was changed'
    if case.outcome == 'accepted':
        return ''
    if case.outcome != 'refused' or not {'OSError', 'ValueError'} & set(case.families):
        return f'{case.outcome} {case.kind}: {case.message}'
    return '' if 'link' in case.message and case.message.endswith('.') else f'no sentence: {case.message}'


def link_to(name: str, target: str = '.') -> Callable[[Path, Path], None]:
    """Lay a link of a name in the results: to something among the victims, or as a hard link."""

    def attack(out: Path, victim: Path) -> None:
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target == _HARD:
            os.link(victim / VICTIMS[0], path)
        else:
            path.symlink_to(victim / target)

    return attack


def _loop(out: Path, victim: Path) -> None:
    (out / PART).symlink_to(out / PART)


def _exchanged(out: Path, victim: Path) -> None:
    """Have a part that was made honestly, whose folder became a link: its files are deleted when it is dropped."""
    _make(out)
    (out / PART / '0.obj').unlink()
    (out / PART).rmdir()
    (out / PART).symlink_to(victim)


def _left_staging(out: Path, victim: Path) -> None:
    """Lay links under every name that an unfinished part may have, and in a folder that a killed process left."""

    class Killed(BaseException):
        pass

    outputs = OutputFolder(out)
    try:
        with outputs.make(PART, MADE_OF) as staging:
            names = [staging.name, f'{staging.name}x']
            raise Killed
    except Killed:
        pass
    (out / names[0]).symlink_to(victim)
    (out / names[1]).mkdir()
    (out / names[1] / 'inner').symlink_to(victim)
    (out / '.making').symlink_to(victim)


def _stopped_store(out: Path, victim: Path) -> None:
    """Leave a partial dataset that is a victim's file under a second name."""
    with StoreWriter(out / 'data.h5', small_header()):
        pass
    kept = victim / 'kept.h5'
    (out / 'data.h5.partial').replace(kept)
    os.link(kept, out / 'data.h5.partial')


def _make(out: Path) -> None:
    with OutputFolder(out).make(PART, MADE_OF) as staging:
        (staging / PART).mkdir()
        (staging / PART / '0.obj').write_text('mesh')


def _drop(out: Path) -> None:
    OutputFolder(out).drop(PART)


def _hold(out: Path) -> None:
    with OutputLock.of_folder(out):
        pass


def _enter(out: Path) -> None:
    check_output_folder(out, '--out')


def _text(out: Path) -> None:
    write_text(out / 'a.json', '{}')


def _store(out: Path) -> None:
    write_small_store(out / 'data.h5')


def _go_on(out: Path) -> None:
    with StoreWriter(out / 'data.h5', small_header()) as writer:
        writer.finish({})


def _export(out: Path) -> None:
    """Export two fits of one frame."""
    body = load_body_model('quadruped')
    fits = out.parent / 'fits'
    for number in range(2):
        params = BodyParams.zeros(1, body.n_joints, body.n_betas)
        fit = FitResult(params, torch.zeros(1), torch.ones(1, dtype=torch.bool), body=body)
        fit.save(fits / f'session_00{number}' / 'fit.npz', frames=np.zeros(1, dtype=np.int64))
    export_fit(fits, ['meshes'], out, body_model='quadruped')


Attack = tuple[Callable[[Path, Path], None], Callable[[Path], None]]
ATTACKS: dict[str, Attack] = {
    'part folder is a link': (link_to(PART), _make),
    'part folder is a link into a folder': (link_to(PART, 'meshes'), _make),
    'part folder is a dangling link': (link_to(PART, 'none'), _make),
    'part folder is a link to itself': (_loop, _make),
    'part file is a link': (link_to(f'{PART}/0.obj', '0.obj'), _make),
    'part file is a hard link': (link_to(f'{PART}/0.obj', _HARD), _make),
    'part folder became a link, made': (_exchanged, _make),
    'part folder became a link, dropped': (_exchanged, _drop),
    'staging is a link': (_left_staging, _make),
    'marker is a link': (link_to('done.json', 'done.json'), _make),
    'marker is a hard link': (link_to('done.json', _HARD), _make),
    'temporary marker is a link': (link_to('.done.tmp.json', '0.obj'), _make),
    'temporary file is a link': (link_to('.a.tmp.json', '0.obj'), _text),
    'temporary file is a dangling link': (link_to('.a.tmp.json', 'none'), _text),
    'temporary file is a hard link': (link_to('.a.tmp.json', _HARD), _text),
    'file is a link': (link_to('a.json', '0.obj'), _text),
    'file is a dangling link': (link_to('a.json', 'none'), _text),
    'file is a hard link': (link_to('a.json', _HARD), _text),
    'lock is a link': (link_to('.lock', '0.obj'), _hold),
    'lock is a dangling link': (link_to('.lock', 'none'), _hold),
    'lock is a hard link': (link_to('.lock', _HARD), _hold),
    'deep folder is a link': (link_to('a/b/c/d'), _enter),
    'dataset is a link': (link_to('data.h5', '0.obj'), _store),
    'dataset is a hard link': (link_to('data.h5', _HARD), _store),
    'new partial dataset is a link': (link_to('data.h5.partial.new', '0.obj'), _store),
    'new partial dataset is a hard link': (link_to('data.h5.partial.new', _HARD), _store),
    'partial dataset is a link': (link_to('data.h5.partial', '0.obj'), _store),
    'partial dataset has a second name': (_stopped_store, _go_on),
    'report of a dataset is a link': (link_to('data.h5.json', '0.obj'), _store),
    'export: session is a link': (link_to('session_000'), _export),
    'export: meshes of a session are a link': (link_to('session_001/meshes'), _export),
    'export: staging of a session is a link': (link_to('session_000/.making'), _export),
    'export: marker is a link': (link_to('session_000/exports.json', '0.obj'), _export),
    'export: lock is a link': (link_to('.lock', 'fit.npz'), _export),
    'export: a mesh is a hard link': (link_to('session_000/meshes/000000.obj', _HARD), _export),
    'export: a deep dangling link': (link_to('session_000/meshes', 'none'), _export),
}
