"""Read a MuJoCo model (MJCF) and its skin as a rig."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from smilfit.body_models.data import SparseMatrix
from smilfit.files import BadFileError, charge, read_in_child, reading, shorten
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.rigs.mjcf.bodies import MjcfBody, posed_frames, read_bodies, rest_frames
from smilfit.rigs.mjcf.document import MOST_BYTES, WHAT, Frame, MjcfDocument, read_mjcf_document, vector
from smilfit.rigs.mjcf.geoms import asset_places, find_asset, skin_of_geoms
from smilfit.rigs.mjcf.skeleton import MjcfSkeleton, skeleton_of
from smilfit.rigs.mjcf.skin import MjcfSkin, inline_skin, read_skn
from smilfit.rigs.mjcf.stac_keypoints import FREE_SD, KEPT_SD, BodyKeypoint, read_body_keypoints
from smilfit.rigs.mjcf.stac_keypoints import WHAT as KEYPOINTS
from smilfit.rigs.read_rig import Rig, Site

# Gravity on earth by the unit in which it is stated, a second: what a model in that unit says.
GRAVITY = {'m': 9.81, 'cm': 981.0, 'mm': 9810.0}
# A skin that was bound this far from where its bodies stand, a share of its size, has another skeleton.
OTHER_SKELETON = 1e-4
_PROBES = 8


def read_mjcf(path: str | Path, skin: str | Path | None = None, keypoints: str | Path | None = None) -> Rig:
    """Read a model.

    Bodies that move the skin, and all above and below them, become joints (`mjcf_joints`); sites become sites. A
    model without a skin has the geoms that MuJoCo shows for one (`mjcf_geoms`); beside a skin they are not read. What
    a simulation needs beside (actuators, contacts) is not read either, and may be missing.

    Args:
        path: the model (`.xml`).
        skin: its skin (`.skn`); None takes what the model names, else the one `.skn` beside it, else its geoms.
        keypoints: a table of keypoints and the bodies they hang on (`mjcf_keypoints`), which become sites.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: what is no model, has neither skin nor geoms, or a skin of other bodies; the message says which.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: {WHAT} must be there; it is not. Check the path.')
    marks = {} if keypoints is None else read_in_child(keypoints, KEYPOINTS, read_body_keypoints, keypoints)
    if skin is None and _shows_meshes(path):
        # Imported where it is used: it is of a lower room.
        from smilfit.io.meshes.scan_files import import_mesh_reader

        import_mesh_reader()
    return read_in_child(path, WHAT, _read, path, skin, keypoints, marks)


def _shows_meshes(path: Path) -> bool:
    """Check whether a model's own file looks as if its geoms are meshes; what it includes is not looked at."""
    with path.open('rb') as file:
        text = file.read(MOST_BYTES)
    return b'<mesh' in text and b'<skin' not in text


def _read(
    path: Path,
    skin: str | Path | None,
    keypoints: str | Path | None,
    marks: Mapping[str, BodyKeypoint],
) -> Rig:
    document = read_mjcf_document(path)
    with reading(path, WHAT):
        every, notes = read_bodies(document)
    notes = (*(f'an included file is missing: {shorten(name)}' for name in document.missing), *notes)
    parts, messages = _skins(document, every, skin)
    bound = _joined(parts)
    bodies = _trees_of(every, {bone.body for bone in bound.bones})
    if len(bodies) < len(every):
        taken = {b.name for b in bodies}
        left = [b.name for b in every if b.parent < 0 and b.name not in taken]
        notes = (*notes, f'left out, since no skin hangs on it: {", ".join(left)}')
    frames = rest_frames(bodies)
    standing = {b.name: frame for b, frame in zip(bodies, frames)}
    vertices = bound.posed(standing)
    size = float(np.ptp(vertices, axis=0).max())
    if not 0 < size < np.inf:
        raise BadFileError(
            f'{path}: its surface must have an extent; got {size:g}. Do the weights of its skin move any vertex?'
        )
    skeleton = skeleton_of(bodies, frames, size)
    unit, up = _unit_and_up(document)
    marked = {} if keypoints is None else _keypoints(keypoints, marks, standing, skeleton)
    rig = Rig(
        name=document.name,
        vertices=vertices,
        faces=bound.faces,
        joint_names=skeleton.names,
        parents=skeleton.parents,
        rest=skeleton.rest,
        weights=_weights(bound, skeleton),
        axes=skeleton.axes,
        limits_rad=skeleton.limits_rad,
        sites=_sites(bodies, standing, skeleton) | marked,
        unit=unit,
        up_axis=up,
        notes=(*notes, *messages, *skeleton.notes),
    )
    off = max(float(np.linalg.norm(b.bind.place - standing[b.body].place)) for b in bound.bones) / size
    if off > OTHER_SKELETON:
        worst = _skinning_error(rig, bound, bodies, skeleton) / size
        note = (
            f'the skin was bound to other bones (up to {off:.1%} of its size away): its shape at rest is as MuJoCo '
            f'shows it, in other poses vertices differ by up to {worst:.1%}'
        )
        rig = replace(rig, notes=(*rig.notes, note))
    return rig


def body_frames(path: str | Path) -> dict[str, Frame]:
    """Return where every body of a model stands in the world at rest, by name."""
    bodies, _ = read_bodies(read_mjcf_document(path))
    return {b.name: frame for b, frame in zip(bodies, rest_frames(bodies))}


def _skins(
    document: MjcfDocument, every: tuple[MjcfBody, ...], given: str | Path | None
) -> tuple[list[MjcfSkin], list[str]]:
    """Find the skins, and say what was not named by the model."""
    notes: list[str] = []
    bodies = {b.name for b in every}
    if given is not None:
        parts = [(str(given), read_skn(given))]
    else:
        elements = [
            e for section in ('asset', 'deformable') for e in document.every(section) if e.tag == 'skin'
        ]
        parts = []
        for element in elements:
            where = f'{document.path}: skin {shorten(element.get("name", ""))}'
            name = element.get('file')
            parts.append(
                (where, inline_skin(element, where)) if name is None else _skin_file(document, name, where)
            )
        # A folder may hold models of several animals: a skin without any body of this one is another's.
        beside = sorted(document.path.parent.glob('*.skn')) if not parts else []
        beside = [path for path in beside if path.is_file()]
        beside = [path for path in beside if any(bone.body in bodies for bone in read_skn(path).bones)]
        if not parts and not beside:
            shown = skin_of_geoms(document, every, rest_frames(every))
            if shown is not None:
                return [shown.skin], list(shown.notes)
        if not parts:
            parts = [_only_skin(document, beside)]
            notes.append(f'the model names no skin; taken is the one beside it, {Path(parts[0][0]).name}')
    for where, part in parts:
        unknown = [b.body for b in part.bones if b.body not in bodies]
        if unknown:
            raise BadFileError(
                f'{where}: bones must be bodies of {document.path.name}; {shorten(unknown[0])!r} is none '
                f'({len(unknown)} of {len(part.bones)} are none). {did_you_mean(unknown[0], bodies)}'
            )
    return [part for _, part in parts], notes


def _skin_file(document: MjcfDocument, name: str, where: str) -> tuple[str, MjcfSkin]:
    place = find_asset(document, name, where)
    if place is not None:
        return str(place), read_skn(place)
    looked = ', '.join(map(str, asset_places(document, name, where)))
    raise BadFileError(f'{where}: its file must be there; looked for {looked}. Copy it there, or give it.')


def _only_skin(document: MjcfDocument, beside: Sequence[Path]) -> tuple[str, MjcfSkin]:
    if len(beside) == 1:
        return str(beside[0]), read_skn(beside[0])
    got = f'{len(beside)} .skn files of its bodies beside it' if beside else 'none, no .skn file beside it'
    raise BadFileError(
        f'{document.path}: the model must name a skin (<asset><skin file="..."/>) or have geoms that are shown; got '
        f'{got}{"" if beside else ", and no geom"}. Give the skin of its bodies (.skn).'
    )


def _joined(parts: Sequence[MjcfSkin]) -> MjcfSkin:
    """Put several skins into one."""
    bones, first = [], 0
    faces = []
    for part in parts:
        bones += [replace(b, vertices=b.vertices + first) for b in part.bones]
        faces.append(part.faces + first)
        first += len(part.vertices)
    return MjcfSkin(np.concatenate([p.vertices for p in parts]), np.concatenate(faces), tuple(bones))


def _trees_of(bodies: Sequence[MjcfBody], moved: set[str]) -> tuple[MjcfBody, ...]:
    """Keep the trees that some body of a skin stands in, numbered anew."""
    root: list[int] = []
    for i, body in enumerate(bodies):
        root.append(i if body.parent < 0 else root[body.parent])
    kept = {root[i] for i, body in enumerate(bodies) if body.name in moved}
    chosen = [i for i in range(len(bodies)) if root[i] in kept]
    place = {i: n for n, i in enumerate(chosen)} | {-1: -1}
    return tuple(replace(bodies[i], parent=place[bodies[i].parent]) for i in chosen)


def _weights(skin: MjcfSkin, skeleton: MjcfSkeleton) -> SparseMatrix:
    n_joints = len(skeleton.names)
    shape = (len(skin.vertices), n_joints)
    key = np.concatenate([n_joints * b.vertices + skeleton.of_body[b.body] for b in skin.bones])
    both, back = np.unique(key, return_inverse=True)
    values = np.bincount(back, np.concatenate([b.weights for b in skin.bones]), len(both))
    return SparseMatrix(both // n_joints, both % n_joints, values, shape)


def _sites(
    bodies: Sequence[MjcfBody], frames: Mapping[str, Frame], skeleton: MjcfSkeleton
) -> dict[str, Site]:
    """Return the model's sites, and the bodies that are no joints under their own names."""
    result, joints = {}, set(skeleton.names)
    for body in bodies:
        if body.name not in joints:
            result[body.name] = site_on(skeleton, frames[body.name], body.name, np.zeros(3))
    for body in bodies:
        for name, place in body.sites.items():
            free = name if name not in joints and name not in result else f'{name}_site'
            result[free] = site_on(skeleton, frames[body.name], body.name, place)
    return result


def site_on(skeleton: MjcfSkeleton, frame: Frame, body: str, place: np.ndarray) -> Site:
    """Return a point of a body, in the body's frame, as a site of the joint that carries the body."""
    joint = skeleton.of_body[body]
    return Site(skeleton.names[joint], frame.rotation @ place + frame.place - skeleton.rest[joint, :3, 3])


def _keypoints(
    path: str | Path,
    marks: Mapping[str, BodyKeypoint],
    frames: Mapping[str, Frame],
    skeleton: MjcfSkeleton,
) -> dict[str, Site]:
    """Return a lab's keypoints as sites whose places are not known well.

    Raises:
        UnknownNameError: a body that the model, as far as it has a skin, has not.
    """
    result, joints = {}, set(skeleton.names)
    length = float(np.ptp(skeleton.rest[:, :3, 3], axis=0).max())
    for name, point in marks.items():
        if point.body not in frames:
            raise UnknownNameError(
                f'{path}: {shorten(name)} must hang on a body of the model; {shorten(point.body)!r} is none. '
                f'{did_you_mean(point.body, frames)}'
            )
        if name in joints:
            raise BadFileError(
                f'{path}: keypoints must have names of their own; {name!r} is a joint. Rename it.'
            )
        site = site_on(skeleton, frames[point.body], point.body, point.offset)
        result[name] = replace(site, sd=length * (KEPT_SD if point.kept else FREE_SD))
    return result


def _unit_and_up(document: MjcfDocument) -> tuple[str | None, str | None]:
    """Read off gravity what the unit is and where up is."""
    gravity = np.array([0.0, 0.0, -GRAVITY['m']])
    for element in document.root.findall('option'):
        gravity = (
            vector(element.attrib, 'gravity', '0 0 -9.81', f'{document.path}: <option>')
            if 'gravity' in element.attrib
            else gravity
        )
    strength = np.linalg.norm(gravity)
    if not strength:
        return None, None
    unit = next((u for u, g in GRAVITY.items() if abs(strength / g - 1) < 0.02), None)
    axis = int(np.abs(gravity).argmax())
    return unit, f'{"-" if gravity[axis] > 0 else "+"}{"xyz"[axis]}'


def _skinning_error(rig: Rig, skin: MjcfSkin, bodies: tuple[MjcfBody, ...], skeleton: MjcfSkeleton) -> float:
    """Measure how far posed vertices are from MuJoCo's, at random angles within the ranges."""
    rng, worst = np.random.default_rng(0), 0.0
    thin = rig.weights
    values = thin.values / np.bincount(thin.rows, thin.values, len(rig.vertices))[thin.rows]
    order = np.argsort(thin.cols, kind='stable')
    ends = np.searchsorted(thin.cols[order], np.arange(len(skeleton.names) + 1))
    standing = rest_frames(bodies)
    # Any body that a joint carries moves as the joint does.
    carried: dict[int, int] = {}
    for number, body in enumerate(bodies):
        carried.setdefault(skeleton.of_body[body.name], number)
    for _ in range(_PROBES):
        charge('its skin', n_bytes=rig.vertices.nbytes)
        angles = {j.name: float(rng.uniform(*(j.span or (-0.5, 0.5)))) for b in bodies for j in b.joints}
        frames = posed_frames(bodies, angles)
        truth = skin.posed({b.name: frame for b, frame in zip(bodies, frames)})
        mine = np.zeros_like(truth)
        for joint, number in carried.items():
            moved = order[ends[joint] : ends[joint + 1]]
            now, rest = frames[number], standing[number]
            rotation = now.rotation @ rest.rotation.T
            rows = thin.rows[moved]
            mine[rows] += values[moved, None] * ((rig.vertices[rows] - rest.place) @ rotation.T + now.place)
        worst = max(worst, float(np.linalg.norm(mine - truth, axis=1).max()))
    return worst
