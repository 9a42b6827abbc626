"""Names of a package that are imported when they are first used, so that importing the package stays light."""

from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, places: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make a package's `__getattr__` and `__dir__` (PEP 562).

    Args:
        package: its name.
        places: a public name -> the module that holds it, within the package or by its full name.
    """

    def get(name: str) -> object:
        if name in places:
            place = places[name]
            return getattr(
                import_module(place if place.startswith('smilfit.') else f'{package}.{place}'), name
            )
        raise AttributeError(f'module {package!r} has no attribute {name!r}')

    return get, lambda: sorted(places)
