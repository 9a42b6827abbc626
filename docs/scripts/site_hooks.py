"""What mkdocs does besides: pages of the repository's root are pages of the site, and the reference is made."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
# Pages that stand in the root, where people and tools look for them.
OF_ROOT = ('SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md')


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of the root and the reference."""
    sys.path.insert(0, str(Path(__file__).parent))
    from reference import reference_pages

    for name in OF_ROOT:
        text = (ROOT / name).read_text(encoding='utf-8').replace('](docs/', '](')
        files.append(File.generated(config, name.lower(), content=text))
    for path, text in reference_pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Let links to the root's pages lead to those of the site."""
    up = '../' * page.file.src_uri.count('/')
    for name in OF_ROOT:
        markdown = markdown.replace(f'](../{up}{name}', f']({up}{name.lower()}')
    return markdown
