"""Body models that come with the package, by name."""

from pathlib import Path

from smilfit.files import shorten
from smilfit.registry import did_you_mean

FOLDER = Path(__file__).parent / 'shipped'
ENDING = '.smil.json'


def shipped_models() -> tuple[str, ...]:
    """Name the models that are shipped."""
    return tuple(sorted(path.name.removesuffix(ENDING) for path in FOLDER.glob(f'*{ENDING}')))


def find_body_model(name_or_path: str | Path) -> Path:
    """Find the file of a body model: a file's path, or a shipped model's name such as `quadruped`.

    A file of that very path comes first, so that a shipped model never hides one of the user's.

    Raises:
        FileNotFoundError: neither (with the near names).
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if is_shipped(name_or_path):
        return shipped_model_file(str(name_or_path))
    raise FileNotFoundError(
        f'{shorten(str(path), 400)}: the body model file is not there. Check the path, or name a shipped model. '
        f'{did_you_mean(path.name, shipped_models())}'
    )


def shipped_model_file(name: str) -> Path:
    """Return where a model of this name lies among the shipped ones; whether there is one is not asked."""
    return FOLDER / f'{name}{ENDING}'


def is_shipped(name_or_path: str | Path) -> bool:
    """Whether this names a shipped model, and no file."""
    return str(name_or_path) in shipped_models() and not Path(name_or_path).is_file()


def beside(model: str | Path, suffix: str) -> Path:
    """Name the file beside a model that belongs to it, such as `fox.clips.npz` of `fox.smil.json`."""
    model = Path(model)
    return model.with_name(model.name.removesuffix('.smil.json') + suffix)
