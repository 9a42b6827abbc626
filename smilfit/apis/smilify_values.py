"""Values of a JSON config of SMILify's, each of the kind that its reader expects."""

from collections.abc import Mapping
from typing import Any

from smilfit.files import BadFileError, shorten
from smilfit.registry import UnknownNameError, did_you_mean


class Values:
    """A section of the JSON; null is as good as absent, as in SMILify."""

    def __init__(self, where: str, config: Mapping[str, Any], section: str) -> None:
        self._where, self._values = f'{where}: {section}'.rstrip(': '), config
        if section:
            self._values = config.get(section) or {}

    def get(self, key: str, default: Any = None) -> Any:
        """Give a value; its kind must be that of the default."""
        value = self._values.get(key)
        if value is None:
            return default
        kinds: tuple[type, ...] = (int, float) if type(default) is float else (type(default),)
        if default is not None and (
            not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise BadFileError(
                f'{self._where}.{key} must be a {type(default).__name__}; got {shorten(value)}. Correct it there.'
            )
        return value

    def choice(self, key: str, default: str, known: Mapping[str, str]) -> str:
        """Give what one of some names stands for."""
        value = self.get(key, default)
        if value not in known:
            raise UnknownNameError(
                f'{self._where}.{key} must be one of {sorted(known)}; got {value!r}. {did_you_mean(value, known)}'
            )
        return known[value]

    def epochs(self, key: str, default: Mapping[int, Any]) -> dict[int, Any]:
        """Give values by first epoch, whose keys are texts in JSON."""
        found = self.get(key, {})
        try:
            return {int(epoch): value for epoch, value in (found or default).items()}
        except ValueError:
            raise BadFileError(
                f'{self._where}.{key} must have epochs as keys; got {shorten(list(found))}. Correct it there.'
            ) from None
