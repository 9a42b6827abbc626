"""Which body model a file was made with, and where that is found again."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelReference:
    """A body model as a dataset, a fit or a checkpoint names it; `body_models.find_model` finds it.

    Args:
        given: its path as somebody gave it, or a shipped model's name.
        content_hash: of its content without landmarks; None where nobody knows it, so that any will do.
        absolute: its whole path; '' where it was no file.
        relative: its path from the folder of the file that names it, with `/`; '' where there is none.
        packed: the model itself, as `body_models.pack_model` gives it; None where it is not in the file.
    """

    given: str = ''
    content_hash: str | None = None
    absolute: str = ''
    relative: str = ''
    packed: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_record(cls, record: Mapping[str, Any], packed: bytes | None = None) -> 'ModelReference':
        """Read what `record` gave; what a later version adds is passed over.

        Raises:
            TypeError: a value that is no text.
        """
        names = ('given', 'content_hash', 'absolute', 'relative')
        found = {name: record[name] for name in names if record.get(name) is not None}
        for name, value in found.items():
            if not isinstance(value, str):
                raise TypeError(f'{name} of a body model must be text; got {type(value).__name__}')
        return cls(**found, packed=packed)

    def record(self) -> dict[str, Any]:
        """Give it as JSON has it, without the model itself."""
        found = asdict(replace(self, packed=None))
        del found['packed']
        return found

    def seen_from(self, folder: str | Path) -> 'ModelReference':
        """Name the model for a file in another folder."""
        if not self.absolute:
            return replace(self, relative='')
        try:
            relative = Path(os.path.relpath(self.absolute, Path(folder).resolve())).as_posix()
        except ValueError:
            # On another drive.
            relative = ''
        return replace(self, relative=relative)

    def places(self, folder: str | Path | None = None) -> Iterator[Path]:
        """List where the model's file may be, the likeliest first.

        Args:
            folder: of the file that names the model.
        """
        named = [Path(self.absolute)] if self.absolute else []
        if folder is not None and self.relative:
            named.append(Path(folder) / self.relative)
        if self.given:
            named.append(Path(self.given).expanduser())
        yield from dict.fromkeys(Path(os.path.abspath(place)) for place in named)
