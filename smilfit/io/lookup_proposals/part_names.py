"""What a keypoint's name says: words, side and numbers, however they are spelt, and the part that they mean."""

import difflib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PARTS_FILE = Path(__file__).parent / 'parts.json'
LEFT, RIGHT = 'left', 'right'
_SIDES = {'l': LEFT, 'left': LEFT, 'lft': LEFT, 'r': RIGHT, 'right': RIGHT, 'rgt': RIGHT}
_HUMPS = re.compile(r'(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])')
# Words of so many letters may be misspelt, and still be so near.
_LEAST_LETTERS, _NEAR = 6, 0.75


@dataclass(frozen=True)
class PartName:
    """A keypoint's name, taken apart: lower-case words in sorted order, `'left'`, `'right'` or no side, numbers."""

    words: tuple[str, ...]
    side: str
    numbers: tuple[int, ...]

    @property
    def place(self) -> tuple[str, tuple[int, ...]]:
        """Side and numbers: what two names of one point have in common, whatever the part is called."""
        return self.side, self.numbers


@dataclass(frozen=True)
class Part:
    """A part of an animal, as the table of parts describes it."""

    name: str
    names: frozenset[tuple[str, ...]]
    joints: frozenset[tuple[str, ...]]
    skin: str = ''
    between: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parts:
    """The table of parts, and the chains of numbered joints such as a tail's, each with its spellings."""

    parts: tuple[Part, ...]
    chains: dict[str, frozenset[tuple[str, ...]]]
    fillers: frozenset[str]
    limbs: frozenset[str]
    fore: frozenset[str]
    hind: frozenset[str]

    def named(self, name: str) -> Part:
        """Return a part by its name in the table."""
        return next(part for part in self.parts if part.name == name)


@cache
def load_parts() -> Parts:
    """Read the shipped table."""
    document = json.loads(PARTS_FILE.read_text(encoding='utf-8'))

    def words(names: list[str]) -> frozenset[tuple[str, ...]]:
        return frozenset(tuple(sorted(name.split())) for name in names)

    return Parts(
        tuple(
            Part(
                name,
                words(entry['names']),
                words(entry.get('joints', [])),
                entry.get('skin', ''),
                tuple(entry.get('between', ())),
                tuple(entry.get('instead', ())),
            )
            for name, entry in document['parts'].items()
        ),
        {chain: words(names) for chain, names in document['chains'].items()},
        *(frozenset(document[key]) for key in ('fillers', 'limbs', 'fore', 'hind')),
    )


def read_name(name: str) -> PartName:
    """Take a name apart: `Ear_L`, `leftEar`, `ear-left` and `LEar` are one."""
    parts = load_parts()
    result = [
        word
        for chunk in re.findall(r'[^\W\d_]+|\d+', name)
        for word in _HUMPS.sub(' ', chunk).lower().split()
    ]
    tokens: list[str] = []
    for token in result:
        glued = next((s for s in (LEFT, RIGHT) if token.startswith(s) and token != s), '')
        tokens += [glued, token[len(glued) :]] if glued else [token]
    side = ''
    places = [i for i, token in enumerate(tokens) if token in _SIDES]
    if places:
        # `l_1_co_r`: a leg, right. Elsewhere the first word that is a side is one.
        leg = len(places) > 1 and tokens[places[0]] == 'l' and len(tokens[places[-1]]) == 1
        side = _SIDES[tokens.pop(places[-1] if leg else places[0])]
    numbers = tuple(int(token[:9]) for token in tokens if token.isdigit())
    words = [token for token in tokens if not token.isdigit() and token not in parts.fillers]
    if parts.limbs & set(words):
        ends = {**dict.fromkeys(parts.fore, 'fore'), **dict.fromkeys(parts.hind, 'hind')}
        words = [ends.get(word, word) for word in words]
    return PartName(tuple(sorted(words)), side, numbers)


def part_of(name: PartName) -> Part | None:
    """Find the part that an annotator's name means; None where the table has none."""
    return next((part for part in load_parts().parts if says(name.words, part.names)), None)


def says(words: tuple[str, ...], spellings: frozenset[tuple[str, ...]]) -> bool:
    """Check whether words are one of some spellings; words may be written as one, such as `tailbase`."""
    if words in spellings:
        return True
    return len(words) == 1 and any(
        words[0] in _as_one(spelling) for spelling in spellings if len(spelling) > 1
    )


def nearly_says(words: tuple[str, ...], spellings: frozenset[tuple[str, ...]]) -> bool:
    """Check whether a single long word is nearly one of some spellings, such as `tharocic` for thoracic."""
    if len(words) != 1 or len(words[0]) < _LEAST_LETTERS:
        return False
    single = [spelling[0] for spelling in spellings if len(spelling) == 1]
    return bool(difflib.get_close_matches(words[0], single, n=1, cutoff=_NEAR))


def _as_one(words: tuple[str, ...]) -> tuple[str, ...]:
    return ''.join(words), ''.join(reversed(words))
