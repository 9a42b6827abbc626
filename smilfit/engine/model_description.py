"""A model's config as a checkpoint keeps it: plain values, of which no code is run when they are read."""

import json
from collections.abc import Mapping
from typing import Any

from smilfit.files import BadFileError, shorten

# Arguments by which a backbone fetches weights that a checkpoint overwrites anyway.
_FETCHED = {'pretrained': False, 'checkpoint': None}


def model_of_checkpoint(where: str, stored: Any) -> dict[str, Any] | None:
    """Read a model's config as a checkpoint holds it, a dict or JSON; None where there is none.

    Types are registered names, never paths into modules: a file may choose among what is registered, and import
    nothing. Weights are not fetched again.

    Raises:
        BadFileError: no config.
    """
    if not stored or stored == 'null':
        return None
    found = stored
    if isinstance(stored, str):
        try:
            found = json.loads(stored)
        except (ValueError, RecursionError) as error:
            raise BadFileError(
                f'{where}: the config of the model in a checkpoint must be JSON; got {shorten(error)}. Give --config.'
            ) from None
    if not isinstance(found, dict):
        raise BadFileError(
            f'{where}: the config of the model in a checkpoint must be a dict; got {shorten(found)}. Give --config.'
        )
    return without_fetching(_checked(where, found))


def without_fetching(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Give a config whose parts fetch no weights: a checkpoint's take their place."""

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            kept = {key: walk(item) for key, item in value.items()}
            return kept | {key: plain for key, plain in _FETCHED.items() if key in kept}
        return [walk(item) for item in value] if isinstance(value, (list, tuple)) else value

    return walk(cfg)


def _checked(where: str, value: Any) -> Any:
    if isinstance(value, dict):
        kind = value.get('type', 'x')
        if not isinstance(kind, str) or not kind.isidentifier():
            raise BadFileError(
                f'{where}: types in a checkpoint must be registered names; got {shorten(kind)}. Give --config.'
            )
        return {key: _checked(where, item) for key, item in value.items()}
    return [_checked(where, item) for item in value] if isinstance(value, (list, tuple)) else value
