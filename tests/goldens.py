"""Write the golden files of tests/fixtures anew: `.venv/bin/python -m tests.goldens`, then review `git diff`.

No test writes them. What no case makes any more is removed.
"""

from __future__ import annotations

import shutil

from tests.finder import install
from tests.unit.support.places import FIXTURES

FOLDERS = ("run_config", "training_units")

if __name__ == "__main__":
    install()
    from tests.unit.support.golden_cases import texts

    made = dict(texts())
    for folder in FOLDERS:
        shutil.rmtree(FIXTURES / folder, ignore_errors=True)
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
