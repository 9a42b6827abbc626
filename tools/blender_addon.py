"""Pack the Blender add-on: writes dist/smilfit_blender-VERSION.zip, which Blender installs from disk."""

import argparse
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / 'blender' / 'smilfit_blender'
# The archive's bytes are those of its files alone: it is packed the same whenever it is packed.
_LONG_AGO = (2020, 1, 1, 0, 0, 0)


def version() -> str:
    """Read smilfit's version without importing it."""
    found = re.search(r"__version__ = '([^']+)'", (ROOT / 'smilfit' / 'version.py').read_text())
    assert found is not None
    return found[1]


def stamped(name: str, text: str, number: str) -> str:
    """Put the version where the add-on states it."""
    if name == 'blender_manifest.toml':
        return re.sub(r'version = "0\.0\.0" # @VERSION@', f'version = "{number}"', text)
    if name == '__init__.py':
        first_three = tuple(int(part) for part in re.findall(r'\d+', number)[:3])
        return re.sub(r'\(0, 0, 0\),  # @VERSION_TUPLE@', f'{first_three},', text)
    return text


def pack(folder: Path) -> Path:
    """Write the archive into a folder; gives its path."""
    if not SOURCE.is_dir():
        raise SystemExit(f'error: {SOURCE}: the add-on must be there; it is not. Pack it in a checkout.')
    number = version()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'smilfit_blender-{number}.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(SOURCE.iterdir()):
            if file.suffix in ('.py', '.toml'):
                entry = zipfile.ZipInfo(file.name, _LONG_AGO)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, stamped(file.name, file.read_text(encoding='utf-8'), number))
        licence = zipfile.ZipInfo('LICENSE', _LONG_AGO)
        archive.writestr(licence, (ROOT / 'LICENSE').read_text(encoding='utf-8'))
    return path


def main() -> int:
    """Pack it and say where it is."""
    parser = argparse.ArgumentParser(
        description='Pack the Blender add-on as an archive that Blender installs from disk.'
    )
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'dist', help='folder of the archive (default: dist)'
    )
    print(f'written: {pack(parser.parse_args().out)}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
