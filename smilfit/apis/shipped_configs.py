"""Configs that come with smilfit: beside the checkout, or inside an installed wheel."""

from pathlib import Path

from smilfit.registry import did_you_mean

# What `fit_images` fits with where no config is named.
FIT_IMAGES_CONFIG = 'configs/fit/smalify.py'
_PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """Return the folder of the shipped configs.

    Raises:
        FileNotFoundError: neither a checkout nor a wheel built by setup.py.
    """
    for folder in (_PACKAGE.parent / 'configs', _PACKAGE / '.mim' / 'configs'):
        if (folder / '_base_').is_dir():
            return folder
    raise FileNotFoundError(f'smilfit: no configs beside {_PACKAGE} or in it. Install smilfit again.')


def find_config(name: str | Path) -> Path:
    """Find a config by path, or a shipped one as `fit/multiview_keypoints.py` or `configs/fit/...`.

    Raises:
        FileNotFoundError: no such file; names the near ones.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise IsADirectoryError(f'{name}: the config must be a file; it is a folder. Name the file in it.')
    folder = configs_folder()
    inside = Path(*path.parts[1:]) if path.parts and path.parts[0] == 'configs' else path
    if (folder / inside).is_file():
        return folder / inside
    shipped = [str(p.relative_to(folder)) for p in folder.rglob('*.py') if '_base_' not in p.parts]
    raise FileNotFoundError(f'{name}: the config is not there. {did_you_mean(str(inside), shipped)}')
