"""Names of sequences and animals, such as can name folders and are different."""

from collections import Counter
from collections.abc import Hashable, Sequence

from smilfit.files import folder_name

_JOIN = '+'


def sequence_name(*parts: str) -> str:
    """Join the names of a video, an animal and the like to one that can name a folder, such as `run+track_0`.

    Different parts give different names: where they could be read in two ways, a digest of them is appended.
    """
    joined = _JOIN.join(parts)
    if all(part and _JOIN not in part for part in parts):
        return folder_name(joined)
    # A zero byte is in no name: which part ends where is seen by it, and `folder_name` takes it as not fine.
    return folder_name('\0'.join(parts))


def different_names(names: Sequence[str]) -> list[str]:
    """Number the names that are the same: a, a, b -> a_0, a_1, b."""
    count, taken, place = Counter(names), set(names), Counter[str]()
    result = []
    for name in names:
        new = name
        while count[name] > 1 and new in taken:
            new = f'{name}_{place[name]}'
            place[name] += 1
        taken.add(new)
        result.append(new)
    return result


class AnimalSequences:
    """Names of sequences: each animal of a video has one of its own, also where two have one name.

    Args:
        videos: names of the videos' sequences.
    """

    def __init__(self, videos: Sequence[str]) -> None:
        self._videos = videos
        self._names: dict[tuple[int, Hashable], str] = {}
        self._count: Counter[tuple[int, str]] = Counter()
        self._taken: set[str] = set()

    def of(self, video: int, animal: Hashable, name: str) -> str:
        """Return the sequence of an animal.

        Args:
            video: the video's place in the list.
            animal: what is the same for all frames of the animal.
            name: what the annotation calls it.
        """
        if (video, animal) not in self._names:
            result = ''
            while not result or result in self._taken:
                self._count[video, name] += 1
                n = self._count[video, name]
                result = sequence_name(self._videos[video], name if n == 1 else f'{name} ({n})')
            self._taken.add(result)
            self._names[video, animal] = result
        return self._names[video, animal]
