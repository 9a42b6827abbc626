"""The page on parts of one's own, as the files and configs that it shows."""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from smilfit.registry import BODY_MODEL_READERS, REGISTRIES, read_config
from smilfit.structures import PARAMETERS

PAGE = Path(__file__).resolve().parents[1] / 'docs' / 'extending.md'
TEXT = PAGE.read_text(encoding='utf-8')
FILE = re.compile(r'```python\n# my_lab/(\w+)\.py\n(.*?)```', re.DOTALL)
CONFIG = re.compile(r'```python\n# in a config\n(.*?)```', re.DOTALL)
_SECTION = re.compile(r'^## (.+?)\n(.*?)(?=^## |\Z)', re.DOTALL | re.MULTILINE)
_COST = re.compile(r'^\| \[(.+?)\]\(#(.+?)\) \| `(\w+)\.py` \| (\d+) \|', re.MULTILINE)

LOADING = 'How a file is loaded'
SECTIONS = dict(_SECTION.findall(TEXT))
KINDS = tuple(name for name in SECTIONS if name != LOADING)
# Kind, anchor, file and lines of every row of the table of costs.
COSTS = tuple(_COST.findall(TEXT))


def code_of(kind: str) -> tuple[str, str]:
    """Return the one file that a section shows: its name and its code."""
    (result,) = FILE.findall(SECTIONS[kind])
    return result


def config_of(lab: Path, kind: str) -> dict:
    """Read the config of a section as the tools do; `custom_imports` imports the section's file."""
    (fragment,) = CONFIG.findall(SECTIONS[kind])
    name = code_of(kind)[0]
    path = lab / f'{name}_config.py'
    first = f"custom_imports = dict(imports=['{name}'], allow_failed_imports=False)\n"
    path.write_text(first + fragment, encoding='utf-8')
    cfg = read_config(path).to_dict()
    cfg.pop('custom_imports')
    return cfg


def write_files(lab: Path) -> None:
    """Write every file that the page shows."""
    for name, code in FILE.findall(TEXT):
        (lab / f'{name}.py').write_text(code, encoding='utf-8')


class Forgetting:
    """Takes back what files of a folder register, so that other tests do not see it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> 'Forgetting':
        self.path, self.parameters = list(sys.path), dict(PARAMETERS)
        return self

    def __exit__(self, *_: object) -> None:
        sys.path[:] = self.path
        PARAMETERS.clear()
        PARAMETERS.update(self.parameters)
        for registry in (*REGISTRIES, BODY_MODEL_READERS):
            for key in [key for key, made in registry.module_dict.items() if self._holds(made)]:
                registry.module_dict.pop(key)
        for name, _code in FILE.findall(TEXT):
            sys.modules.pop(name, None)

    def _holds(self, made: Any) -> bool:
        return Path(inspect.getfile(made)).parent == self.folder
