"""Read a config file, with the user's own modules beside it in reach."""

import sys
from pathlib import Path

from mmengine.config import Config


def read_config(path: str | Path) -> Config:
    """Read a config file and import what its `custom_imports` names.

    Modules are looked for beside the config and in the working directory too, after everything that is installed.
    Both stay on the search path, because loaders of training data may start processes that import them again.
    """
    for folder in (Path(path).resolve().parent, Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return Config.fromfile(path)
