"""Take values of a JSON file, each of the kind that is meant: no text for a number, no 0.5 for an index."""

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from smilfit.files import BadFileError, shorten

LONGEST_NAME = 1000
# float64 holds every whole number up to here.
_MOST_WHOLE = 1 << 53


class JsonValues:
    """Values of one file; every refusal names the file and the place in it.

    Args:
        path: the file, for messages.
        advice: what to do about a value that is refused, as a sentence.
    """

    def __init__(self, path: Path, advice: str) -> None:
        self.path, self.advice = path, advice

    def refuse(self, place: str, rule: str, got: object) -> NoReturn:
        """Refuse the file.

        Raises:
            BadFileError: always.
        """
        raise BadFileError(f'{self.path}: {shorten(place)} must {rule}; got {shorten(got)}. {self.advice}')

    def record(self, value: object, place: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
        """Take an object; null and a missing one are an empty object where no key is required."""
        if value is None and not required:
            return {}
        if not isinstance(value, dict):
            self.refuse(place, 'be an object', value)
        for key in required:
            if key not in value:
                self.refuse(place, f'have the key {key!r}', value)
        return value

    def items(self, value: object, place: str) -> list[Any]:
        """Take a list; null is an empty one."""
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(place, 'be a list', value)
        return value

    def name(self, value: object, place: str) -> str:
        """Take a text that names something."""
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
            self.refuse(place, f'be a name of 1 to {LONGEST_NAME} characters', value)
        return value

    def names(self, value: object, place: str) -> tuple[str, ...]:
        """Take a list of names."""
        return tuple(self.name(item, f'{place}[{i}]') for i, item in enumerate(self.items(value, place)))

    def text(self, value: object, place: str) -> str | None:
        """Take a text, or null."""
        if value is not None and not isinstance(value, str):
            self.refuse(place, 'be text', value)
        return value

    def number(self, value: object, place: str) -> float:
        """Take a number; true and false are none."""
        return float(self.numbers([value], place)[0])

    def numbers(self, value: object, place: str, ranks: tuple[int, ...] = (1,)) -> np.ndarray:
        """Take a list of numbers, or lists of equally many numbers as deep as `ranks` allow; float64, finite."""
        rank = self._rank(value, place, max(ranks))
        if rank not in ranks:
            self.refuse(
                place, f'be numbers in lists of depth {" or ".join(map(str, ranks))}', f'depth {rank}'
            )
        try:
            array = np.asarray(value, dtype=np.float64)
        except (ValueError, OverflowError):
            self.refuse(
                place,
                'hold numbers, as many in each list',
                'lists of different lengths, or too large a number',
            )
        if not np.isfinite(array).all():
            self.refuse(place, 'be finite', 'a number that is too large')
        return array

    def optional(self, value: object, place: str, rank: int) -> np.ndarray | None:
        """Take numbers in lists of one depth, or null."""
        return None if value is None else self.numbers(value, place, (rank,))

    def whole(self, value: object, place: str, ranks: tuple[int, ...] = (1,)) -> np.ndarray:
        """Take whole numbers, such as indices, in lists as `numbers` does; int64."""
        array = self.numbers(value, place, ranks)
        wrong = (array != np.rint(array)) | (np.abs(array) > _MOST_WHOLE)
        if wrong.any():
            self.refuse(place, 'be whole numbers', float(array[wrong][0]))
        return array.astype(np.int64)

    def _rank(self, value: object, place: str, most: int) -> int:
        """Count the depth of lists, and look at every number in them."""
        if not isinstance(value, list):
            self.refuse(place, 'be a list of numbers', value)
        kinds = set(map(type, value))
        if kinds <= {int, float}:
            return 1
        if kinds != {list} or most == 1:
            wrong = next(
                v
                for v in value
                if type(v) not in ((int, float) if most == 1 or list not in kinds else (list,))
            )
            self.refuse(place, 'hold numbers', wrong)
        ranks = {self._rank(inner, place, most - 1) for inner in value}
        if len(ranks) != 1:
            self.refuse(place, 'be lists of one depth', 'several')
        return 1 + ranks.pop()
