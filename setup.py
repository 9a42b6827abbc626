"""Install smilfit; everything but the configs' way into the wheel stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Put configs/ and tools/ where OpenMMLab's `mim` and `_base_ = 'smilfit::...'` look for them."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib) / 'smilfit' / '.mim'
        for folder in ('configs', 'tools'):
            shutil.copytree(
                ROOT / folder,
                target / folder,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns('__pycache__'),
            )


setup(
    # Folders of data alone are packages to setuptools, which warns where they are not named.
    packages=find_namespace_packages(include=['smilfit', 'smilfit.*'], exclude=['*__pycache__*']),
    package_data={
        'smilfit': ['py.typed', '*.pyi', '**/*.json', '**/*.csv', '**/templates/*', '**/weights/*.pth']
    },
    cmdclass={'build_py': BuildWithConfigs},
)
