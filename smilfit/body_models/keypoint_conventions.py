"""Keypoint conventions: ordered names in JSON files, shipped ones and a user's own.

A file holds `names` and, where there are such, `groups` (name -> members), `limbs` (pairs), `aliases` (a name of
the file -> the shared name of that point) and `approximate` (lists of points that nearly agree, best first). A file
that only gives a convention another name holds `same_as`, the name of that convention.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models.files.json_values import JsonValues
from smilfit.files import BadFileError, shorten
from smilfit.files.text_files import read_strict_json
from smilfit.registry import UnknownNameError, did_you_mean, reject_unknown
from smilfit.structures import Keypoints2d, Keypoints3d

FOLDER = Path(__file__).parent / 'conventions'
# A file of names; the largest shipped one has 20 kB.
MOST_BYTES = 1 << 24
# What all conventions share: other spellings of a name, and points that nearly agree.
LINKS = FOLDER / 'links' / 'human.json'
# Folders of a user's own convention files, separated as in PATH.
ENVIRONMENT = 'SMILFIT_CONVENTIONS'
_KEYS = ('description', 'names', 'groups', 'limbs', 'aliases', 'approximate', 'rig')

Convention = str | Path | Sequence[str]


@dataclass(frozen=True)
class KeypointConvention:
    """An order of keypoints; `groups` and `limbs` speak of `names`."""

    name: str
    names: tuple[str, ...]
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    limbs: tuple[tuple[str, str], ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    approximate: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        """K."""
        return len(self.names)


@dataclass(frozen=True)
class KeypointLinks:
    """Which names mean one point, and which points nearly agree."""

    aliases: dict[str, str]
    approximate: tuple[tuple[str, ...], ...]

    def point(self, name: str) -> str:
        """Return the shared name of a point."""
        return self.aliases.get(name, name)

    def near(self, point: str) -> Iterable[str]:
        """Return the points that nearly agree with one, best first."""
        return (other for row in self.approximate if point in row for other in row if other != point)


def load_convention(convention: Convention) -> KeypointConvention:
    """Read a convention.

    Args:
        convention: a name of `available_conventions()`, the path of a `.json` file, or the names themselves.

    Raises:
        KeyError: no such name, with the near ones.
        ValueError: a file that breaks a rule, or a name that two folders have.
    """
    if not isinstance(convention, (str, Path)):
        return _checked(KeypointConvention('names', tuple(convention)), 'names')
    path = _find(convention)
    document = read_convention_file(path)
    visited = [path]
    while 'same_as' in document:
        path = _find(document['same_as'])
        if path in visited:
            raise BadFileError(
                f'{path}: same_as must lead to names; it leads back here. Write the names into one of them.'
            )
        visited.append(path)
        document = read_convention_file(path)
    values = JsonValues(path, 'Correct the file; the shipped conventions show the form.')
    limbs = [
        values.names(x, f'limbs[{i}]') for i, x in enumerate(values.items(document.get('limbs'), 'limbs'))
    ]
    for i, limb in enumerate(limbs):
        if len(limb) != 2:
            values.refuse(f'limbs[{i}]', 'be two names', len(limb))
    rows = enumerate(values.items(document.get('approximate'), 'approximate'))
    aliases, groups = (values.record(document.get(key), key) for key in ('aliases', 'groups'))
    return _checked(
        KeypointConvention(
            name=path.stem,
            names=values.names(document['names'], 'names'),
            groups={group: values.names(members, f'groups.{group}') for group, members in groups.items()},
            limbs=tuple((a, b) for a, b in limbs),
            aliases={name: values.name(point, f'aliases.{name}') for name, point in aliases.items()},
            approximate=tuple(values.names(row, f'approximate[{i}]') for i, row in rows),
        ),
        str(path),
    )


def available_conventions() -> dict[str, Path]:
    """List the conventions that can be asked for by name: shipped ones and those of `SMILFIT_CONVENTIONS`.

    Raises:
        ValueError: a name that two folders have, or a folder that is not there.
    """
    own = [Path(folder) for folder in os.environ.get(ENVIRONMENT, '').split(os.pathsep) if folder]
    result: dict[str, Path] = {}
    for folder in (FOLDER, *own):
        if not folder.is_dir():
            raise ValueError(f'{ENVIRONMENT}: {folder} must be a folder of .json files. Mend the variable.')
        for path in sorted(folder.glob('*.json')):
            if path.stem in result:
                raise ValueError(
                    f'{ENVIRONMENT}: the convention {path.stem!r} must be in one folder; got {result[path.stem]} and '
                    f'{path}. Rename yours.'
                )
            result[path.stem] = path
    return result


def load_links(conventions: Iterable[KeypointConvention] = ()) -> KeypointLinks:
    """Read what all conventions share, and add what some say of themselves."""
    document = json.loads(LINKS.read_text(encoding='utf-8'))
    aliases = dict(document['aliases'])
    approximate = tuple(tuple(row) for row in document['approximate'])
    for convention in conventions:
        aliases |= convention.aliases
        approximate += convention.approximate
    return KeypointLinks(aliases, approximate)


def read_convention_file(path: Path) -> dict[str, Any]:
    """Read a convention file as it stands.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON object with `names` or `same_as`, or an unknown key.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the keypoint convention is not there. Check the path.')
    document = read_strict_json(path, 'a keypoint convention', MOST_BYTES)
    if isinstance(document.get('same_as'), str):
        reject_unknown(str(path), 'key', map(shorten, document), ('description', 'same_as'))
        return document
    if not isinstance(document.get('names'), list):
        raise BadFileError(
            f'{path}: a keypoint convention must be an object with a list "names"; got '
            f'{shorten(document.get("names"))}. Write the names of the keypoints there, in order.'
        )
    reject_unknown(str(path), 'key', map(shorten, document), _KEYS)
    return document


def _find(convention: str | Path) -> Path:
    if isinstance(convention, Path) or convention.endswith('.json'):
        return Path(convention)
    available = available_conventions()
    if convention not in available:
        raise UnknownNameError(
            f'load_convention: no keypoint convention {convention!r}. {did_you_mean(convention, available)} '
            f'For one of your own, give the path of its .json file, or put its folder into {ENVIRONMENT}.'
        )
    return available[convention]


def _checked(convention: KeypointConvention, where: str) -> KeypointConvention:
    names = convention.names
    links = load_links([convention])
    points: dict[str, str] = {}
    for name in names:
        point = links.point(name)
        if point in points:
            raise ValueError(
                f'{where}: names must be different points; got {points[point]!r} and {name!r}. Rename one of them.'
            )
        points[point] = name
    mentioned = [(f'groups.{group}', n) for group, members in convention.groups.items() for n in members]
    mentioned += [('limbs', n) for limb in convention.limbs for n in limb]
    mentioned += [('aliases', n) for n in convention.aliases]
    for place, name in mentioned:
        if name not in names:
            raise ValueError(
                f'{where}: {place} must speak of names; got {name!r}. {did_you_mean(name, names)}'
            )
    return convention


def convert_keypoints(
    keypoints: Tensor | np.ndarray | Keypoints2d | Keypoints3d,
    src: Convention | None,
    dst: Convention,
    approximate: bool = False,
) -> tuple[Tensor | np.ndarray | Keypoints2d | Keypoints3d, Tensor | np.ndarray]:
    """Put keypoints into another convention's order; points that the source lacks become 0, confidence and all.

    Args:
        keypoints: (..., K, D), or observed keypoints.
        src: their convention: a name, the path of a file, or the names. None takes those that observed
            keypoints carry.
        dst: the convention wanted.
        approximate: let a missing point be taken from one that nearly agrees, such as a hip from an annotator's hip.

    Returns:
        The keypoints, of the kind given, and a mask (K of `dst`) of which were found.

    Raises:
        KeyError: an unknown convention, with the near ones.
        ValueError: another number of keypoints than the convention has, or an array without a convention.
    """
    if src is None:
        if not isinstance(keypoints, (Keypoints2d, Keypoints3d)):
            raise ValueError(
                'convert_keypoints: an array must come with its convention src; got None. Name it.'
            )
        src = keypoints.names
    source, target = load_convention(src), load_convention(dst)
    count = len(keypoints.names) if isinstance(keypoints, (Keypoints2d, Keypoints3d)) else keypoints.shape[-2]
    if len(source) != count:
        raise ValueError(
            f'convert_keypoints: {source.name!r} must have as many names as keypoints; got {len(source)} and {count}.'
        )
    places = match_names(source, target, approximate)
    if isinstance(keypoints, Tensor):
        return _gather(keypoints, places, -2)
    if isinstance(keypoints, np.ndarray):
        index = np.array(places)
        valid = index >= 0
        picked = keypoints[..., np.maximum(index, 0), :]
        return np.where(valid[:, None], picked, np.zeros((), picked.dtype)), valid
    coordinates = 'xy' if isinstance(keypoints, Keypoints2d) else 'xyz'
    moved, mask = _gather(getattr(keypoints, coordinates), places, -2)
    confidence, _ = _gather(keypoints.confidence, places, -1)
    changes: dict[str, Any] = {coordinates: moved, 'names': target.names, 'confidence': confidence}
    return replace(keypoints, **changes), mask


def match_names(
    source: KeypointConvention, target: KeypointConvention, approximate: bool = False
) -> list[int]:
    """Return for every name of the target the place of that point in the source; -1 where it is not there."""
    # Each file's aliases are its own; what nearly agrees, both may say.
    of_source, of_target, of_both = load_links([source]), load_links([target]), load_links([source, target])
    places = {of_source.point(name): place for place, name in enumerate(source.names)}
    result = []
    for name in target.names:
        point = of_target.point(name)
        candidates = [point, *of_both.near(point)] if approximate else [point]
        result.append(next((places[c] for c in candidates if c in places), -1))
    return result


def _gather(values: Tensor, places: list[int], dim: int) -> tuple[Tensor, Tensor]:
    index = torch.tensor(places, device=values.device)
    mask = index >= 0
    picked = values.index_select(dim, index.clamp_min(0))
    shape = [1] * values.ndim
    shape[dim] = len(places)
    return torch.where(mask.reshape(shape), picked, torch.zeros_like(picked)), mask
