"""Read an MJCF document whole: includes in their place, defaults by class, and nothing that a file could do harm by.

The standard library's expat reads the XML. Document types, and with them entities, are refused; included files must
lie in the folder of the model or below it. What is read is charged to the model's account.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, accounted, charge, check_budget, inside, reading, shorten

WHAT = 'a MuJoCo model'
MOST_BYTES, MOST_ELEMENTS, MOST_INCLUDES, DEEPEST = 1 << 26, 200_000, 200, 500
# MuJoCo knows some 40 of a geom.
MOST_ATTRIBUTES = 200
# What an element and an attribute take as Python has them, beside their text, bytes.
_ELEMENT_BYTES, _ATTRIBUTE_BYTES = 300, 200
MAIN = 'main'
# What is known of these by their class.
_CLASSED = ('joint', 'site', 'geom', 'mesh')
# Attributes that say how a frame is turned, and of how many numbers they are.
WAYS = {'quat': 4, 'axisangle': 4, 'euler': 3, 'xyaxes': 6, 'zaxis': 3}
_TINY = 1e-12
# Cubes of larger numbers are beyond what the computer can count with.
_LARGEST = 1e30


@dataclass(frozen=True)
class Compiler:
    """How numbers of a document are meant."""

    degrees: bool = True
    eulerseq: str = 'xyz'
    autolimits: bool = True
    meshdir: str = ''
    assetdir: str = ''


@dataclass(frozen=True)
class MjcfDocument:
    """A model as its files have it.

    Args:
        path: the model's file.
        name: the model's.
        compiler: how its numbers are meant.
        root: all of it, includes in their places.
        classes: attributes of joints, sites, geoms and meshes by class and element, with those of the classes above;
            classes that say nothing of an element share the table of the class above.
        missing: included files that are not there.
    """

    path: Path
    name: str
    compiler: Compiler
    root: Element
    classes: Mapping[str, Mapping[str, Mapping[str, str]]]
    missing: tuple[str, ...] = field(default=())

    def every(self, section: str) -> Iterator[Element]:
        """Go through what stands in all sections of a name; a section may stand several times."""
        for result in self.root.findall(section):
            yield from result

    def attributes(self, element: Element, childclass: str) -> dict[str, str]:
        """Return an element's attributes, those of its class where it says nothing.

        Raises:
            BadFileError: an unknown class.
        """
        name = element.get('class', childclass)
        if name not in self.classes:
            raise BadFileError(
                f'{self.path}: the class of a {element.tag} must be one of <default>; got {shorten(name)!r}. '
                'Is an included file missing?'
            )
        return {**self.classes[name].get(element.tag, {}), **element.attrib}


def read_mjcf_document(path: str | Path) -> MjcfDocument:
    """Read a model's file and what it includes.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no XML, another root, a document type, an include from elsewhere, or too much of anything.
    """
    path = Path(path)
    loader = _Loader(path)
    with reading(path, WHAT), accounted(path, WHAT):
        root = loader.read(path)
        if root.tag != 'mujoco':
            raise BadFileError(
                f'{path}: the document must be <mujoco>; got <{shorten(root.tag)}>. Is it a MuJoCo model?'
            )
        loader.include(root)
        return MjcfDocument(
            path,
            root.get('model') or path.stem,
            _compiler(root, path),
            root,
            _classes(root, path),
            tuple(loader.missing),
        )


class _Loader:
    """Reads files once each, within one budget."""

    def __init__(self, path: Path) -> None:
        self.path, self.folder = path, path.parent
        self.left, self.count, self.included = MOST_BYTES, 0, 0
        self.visited: set[Path] = set()
        self.missing: list[str] = []

    def read(self, path: Path) -> Element:
        check_budget(path, WHAT, path.stat().st_size, self.left)
        text = path.read_bytes()
        self.left -= len(text)
        self.visited.add(path.resolve())
        with accounted(path, WHAT):
            charge('its text', n_bytes=2 * len(text))
            return self._parsed(text, path)

    def _parsed(self, text: bytes, path: Path) -> Element:
        builder, parser = TreeBuilder(), expat.ParserCreate()
        depth = 0

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal depth
            depth, self.count = depth + 1, self.count + 1
            check_budget(path, 'nesting', depth, DEEPEST, 'levels')
            check_budget(path, 'the document', self.count, MOST_ELEMENTS, 'elements')
            check_budget(path, f'<{shorten(tag)}>', len(attributes), MOST_ATTRIBUTES, 'attributes')
            charge('its elements', _ELEMENT_BYTES + _ATTRIBUTE_BYTES * len(attributes), 1)
            builder.start(tag, attributes)

        def end(tag: str) -> None:
            nonlocal depth
            depth -= 1
            builder.end(tag)

        def refuse(name: str, *_: object) -> None:
            raise BadFileError(
                f'{path}: {WHAT} must have no document type; got {shorten(name)!r}. Remove <!DOCTYPE ...>.'
            )

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.StartDoctypeDeclHandler = refuse
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise BadFileError(
                f'{path}: {WHAT} must be XML; it is not at line {error.lineno}: '
                f'{expat.ErrorString(error.code)}. Is the file whole?'
            ) from error
        return builder.close()

    def include(self, element: Element) -> None:
        """Put included files in the place of what names them."""
        # The last comes first; what is included stands in the order in which it is reached.
        waiting, result = list(element)[::-1], []
        changed = False
        while waiting:
            child = waiting.pop()
            if child.tag == 'include':
                changed = True
                waiting += self._included(child)[::-1]
            else:
                self.include(child)
                result.append(child)
        if changed:
            element[:] = result

    def _included(self, element: Element) -> list[Element]:
        """Return what the file holds that an <include> names; nothing where it is not there."""
        name = element.get('file', '')
        self.included += 1
        check_budget(self.path, 'includes', self.included, MOST_INCLUDES, 'of them')
        result = inside(self.folder, name, f'{self.path}: <include>')
        if not name or not result.is_file():
            self.missing.append(name)
            return []
        if result.resolve() in self.visited:
            raise BadFileError(
                f'{self.path}: a file must be included once; {shorten(name)!r} is twice. Remove one <include>.'
            )
        with reading(result, WHAT):
            return list(self.read(result))


def _compiler(root: Element, path: Path) -> Compiler:
    settings: dict[str, str] = {}
    for element in root.findall('compiler'):
        settings |= element.attrib
    angle, sequence = settings.get('angle', 'degree'), settings.get('eulerseq', 'xyz')
    if angle not in ('degree', 'radian') or len(sequence) != 3 or set(sequence.lower()) - set('xyz'):
        raise BadFileError(
            f'{path}: <compiler> must have angle degree or radian and eulerseq of x, y, z; got {shorten(angle)!r} '
            f'and {shorten(sequence)!r}. Correct it.'
        )
    if settings.get('coordinate', 'local') != 'local':
        raise BadFileError(
            f'{path}: coordinates must be local; got coordinate={shorten(settings["coordinate"])!r}, which '
            'MuJoCo has given up too. Save the model by a MuJoCo older than 2.3.4.'
        )
    return Compiler(
        angle == 'degree',
        sequence,
        settings.get('autolimits', 'true') == 'true',
        settings.get('meshdir', ''),
        settings.get('assetdir', ''),
    )


def _classes(root: Element, path: Path) -> dict[str, dict[str, dict[str, str]]]:
    result: dict[str, dict[str, dict[str, str]]] = {MAIN: {}}

    def add(element: Element, name: str, above: dict[str, dict[str, str]]) -> None:
        own = dict(above)
        for child in element:
            if child.tag in _CLASSED:
                own[child.tag] = own.get(child.tag, {}) | child.attrib
                charge('its classes', n_objects=len(own[child.tag]))
        result[name] = own
        inner = element.findall('default')
        for child in inner:
            if 'class' not in child.attrib:
                raise BadFileError(
                    f'{path}: a <default> within another must have a class; got none. Name it.'
                )
            add(child, child.attrib['class'], own)

    for element in root.findall('default'):
        name = element.get('class', MAIN)
        add(element, name, result[MAIN])
    named = Counter(e.get('class', '') for top in root.findall('default') for e in top.iter('default'))
    twice = [name for name, count in named.items() if name and count > 1]
    if twice:
        raise BadFileError(
            f'{path}: classes must differ; got {shorten(twice[0])!r} twice. Rename one of them.'
        )
    return result


class Frame(NamedTuple):
    """A place and a turn: takes points of the frame to those of the frame around it."""

    rotation: Float[np.ndarray, '3 3']
    place: Float[np.ndarray, '3']

    def then(self, inner: 'Frame') -> 'Frame':
        """Return a frame inside this one in the frame around this one."""
        return Frame(self.rotation @ inner.rotation, self.rotation @ inner.place + self.place)

    def matrix(self) -> Float[np.ndarray, '4 4']:
        """Write it as one matrix."""
        result = np.eye(4)
        result[:3, :3], result[:3, 3] = self.rotation, self.place
        return result


WORLD = Frame(np.eye(3), np.zeros(3))


def vector(attributes: Mapping[str, str], name: str, default: str, where: str) -> Float[np.ndarray, ' n']:
    """Read an attribute of as many numbers as the default has.

    Raises:
        BadFileError: other text, another count, or numbers beyond all measure.
    """
    count = len(default.split())
    text = attributes.get(name, default)
    try:
        values = np.array([float(word) for word in text.split(None, count + 1)[: count + 1]])
    except ValueError:
        values = np.zeros(0)
    if len(values) != count or not (np.abs(values) <= _LARGEST).all():
        raise BadFileError(
            f'{where}: {name} must be {count} finite numbers of at most {_LARGEST:g}; got {shorten(text)!r}. '
            'Correct it.'
        )
    return values


def frame_of(attributes: Mapping[str, str], compiler: Compiler, where: str) -> Frame:
    """Read place and turn of a body, a site or a frame."""
    return Frame(rotation_of(attributes, compiler, where), vector(attributes, 'pos', '0 0 0', where))


def rotation_of(attributes: Mapping[str, str], compiler: Compiler, where: str) -> Float[np.ndarray, '3 3']:
    """Read how a frame is turned, as a rotation matrix.

    Raises:
        BadFileError: two ways at once, or an axis of no length.
    """
    given = [name for name in WAYS if name in attributes]
    if not given:
        return np.eye(3)
    if len(given) > 1:
        raise BadFileError(
            f'{where}: one way must say how it is turned; got {" and ".join(given)}. Keep one.'
        )
    way = given[0]
    numbers = vector(attributes, way, ' '.join('0' * WAYS[way]), where)
    angle = np.pi / 180 if compiler.degrees else 1.0
    if way == 'quat':
        return quaternion_rotation(numbers, where)
    if way == 'axisangle':
        return axis_rotation(_unit(numbers[:3], way, where), angle * numbers[3])
    if way == 'euler':
        return _euler(angle * numbers, compiler.eulerseq)
    if way == 'zaxis':
        return shortest_rotation(_unit(numbers, way, where))
    x = _unit(numbers[:3], way, where)
    y = _unit(numbers[3:] - (numbers[3:] @ x) * x, way, where)
    return np.stack((x, y, np.cross(x, y)), 1)


def quaternion_rotation(quat: Float[np.ndarray, '4'], where: str) -> Float[np.ndarray, '3 3']:
    """Turn a quaternion (w, x, y, z) of any length into a matrix."""
    w, x, y, z = _unit(quat, 'quat', where)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def axis_rotation(axis: Float[np.ndarray, '3'], angle: float) -> Float[np.ndarray, '3 3']:
    """Turn about a unit axis (Rodrigues)."""
    skew = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


def unit_axis(attributes: Mapping[str, str], where: str) -> Float[np.ndarray, '3']:
    """Read a joint's axis."""
    return _unit(vector(attributes, 'axis', '0 0 1', where), 'axis', where)


def _unit(numbers: np.ndarray, name: str, where: str) -> np.ndarray:
    length = np.linalg.norm(numbers)
    if length < _TINY:
        raise BadFileError(f'{where}: {name} must have a length; got zeros. Correct it.')
    return numbers / length


def _euler(angles: np.ndarray, sequence: str) -> np.ndarray:
    """Turn about axes that turn along (small letters) or stay (capitals), one after the other."""
    result = np.eye(3)
    for letter, angle in zip(sequence, angles):
        rotation = axis_rotation(np.eye(3)['xyz'.index(letter.lower())], angle)
        result = result @ rotation if letter.islower() else rotation @ result
    return result


def shortest_rotation(axis: Float[np.ndarray, '3']) -> Float[np.ndarray, '3 3']:
    """Turn z to a unit axis the shortest way."""
    across = np.cross([0.0, 0.0, 1.0], axis)
    sine = np.linalg.norm(across)
    if sine < _TINY:
        return np.eye(3) if axis[2] > 0 else np.diag([1.0, -1.0, -1.0])
    return axis_rotation(across / sine, float(np.arctan2(sine, axis[2])))
