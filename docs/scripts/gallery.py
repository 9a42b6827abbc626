"""Run every file of docs/examples, and write docs/gallery.md with their texts, code and pictures.

python docs/scripts/gallery.py [--demo demo_out]; the demo's first recording is made where it is not there.
"""

import argparse
import ast
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
PICTURES = DOCS / 'images' / 'gallery'
# In the order of the page.
EXAMPLES = ('fit_by_hand', 'kinds_of_animals', 'points_in_space', 'a_wrong_camera', 'joint_angles')
HEAD = """# Gallery

You want to see what smilfit can do. Each example is a file of `docs/examples/`, shown with the image that it draws.
It runs on the recording that `smilfit demo --first-look` makes:

```
python docs/examples/fit_by_hand.py demo_out picture.png
```

`docs/scripts/gallery.py` runs all of them and writes this page.
"""


def section(name: str) -> str:
    """Write an example's part of the page, from its file."""
    text = (DOCS / 'examples' / f'{name}.py').read_text(encoding='utf-8')
    title, _, words = ast.get_docstring(ast.parse(text)).partition('\n\n')
    code = text.split('"""', 2)[2].strip()
    return f'\n## {title}\n\n{words}\n\n![{title}](images/gallery/{name}.webp)\n\n```python\n{code}\n```\n'


def page() -> str:
    """Write the page."""
    return HEAD + ''.join(section(name) for name in EXAMPLES)


def run_example(name: str, demo: Path) -> None:
    """Run an example, and keep its picture small."""
    with tempfile.TemporaryDirectory() as temporary:
        drawn = Path(temporary) / 'picture.png'
        subprocess.run(
            [sys.executable, str(DOCS / 'examples' / f'{name}.py'), str(demo), str(drawn)],
            check=True,
            env={**os.environ, 'MPLBACKEND': 'Agg', 'PYTHONPATH': str(ROOT)},
        )
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f'{name}.webp'
        Image.open(drawn).convert('RGB').save(path, quality=75, method=6)
        print(f'{path}: {path.stat().st_size / 1e3:.0f} kB')


def main() -> None:
    """Run all, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--demo', type=Path, default=Path('demo_out'))
    parser.add_argument('--only', nargs='+', choices=EXAMPLES, default=EXAMPLES)
    arguments = parser.parse_args()
    if not (arguments.demo / 'first_look').is_dir():
        subprocess.run(
            [sys.executable, 'tools/demo.py', '--out', str(arguments.demo.resolve()), '--first-look'],
            check=True,
            cwd=ROOT,
        )
    for name in arguments.only:
        run_example(name, arguments.demo.resolve())
    (DOCS / 'gallery.md').write_text(page(), encoding='utf-8')


if __name__ == '__main__':
    main()
