"""The web site: reports/site/index.html, from the project's pages and the installed collection.

python -m tools.docs_site    (after `python -m tools.artifact`; requirements-docs.txt)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import jinja2

from tools.artifact import PLACE, ROOT

BIN = Path(sys.executable).parent
SITE = ROOT / "reports" / "site"
PAGES = ("*.md", "docs/*.md")


def source(folder: Path) -> None:
    """Pages lie as in the checkout, so that their links hold."""
    shutil.copytree(ROOT / "docs" / "site", folder)
    for path in (path for pattern in PAGES for path in ROOT.glob(pattern)):
        target = folder / "docs" / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    index = folder / "index.md.j2"
    names = sorted(path.stem for path in (folder / "docs" / "docs").iterdir())
    shutil.copytree(ROOT / "docs" / "pictures", folder / "docs" / "docs" / "pictures")
    text = jinja2.Template(index.read_text(), trim_blocks=True, keep_trailing_newline=True)
    (folder / "index.md").write_text(text.render(pages=names))
    index.unlink()


def main() -> int:
    folder = PLACE / "site"
    shutil.rmtree(folder, ignore_errors=True)
    source(folder)
    reference = folder / "reference"
    reference.mkdir()
    words = ["collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", reference]
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PLACE), "PATH": f"{BIN}:{os.environ['PATH']}"}
    subprocess.run([BIN / "antsibull-docs", *words, "canvas.fleet"], env=env, check=True)
    shutil.rmtree(SITE, ignore_errors=True)
    return subprocess.run([BIN / "sphinx-build", "-q", "-W", "--keep-going", folder, SITE], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
