"""The collection as users get it: built from the files that git knows, and installed.

python -m tools.artifact    builds .cache/artifact/canvas-fleet-VERSION.tar.gz, and installs it below .cache/artifact
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / ".cache" / "artifact" / ROOT.name  # clones may share their .cache
INSTALLED = PLACE / "ansible_collections" / "canvas" / "fleet"
GALAXY = str(Path(sys.executable).with_name("ansible-galaxy"))
ROOMS = {  # all that users need, and nothing else
    *("bindep.txt", "CHANGELOG.md", "changelogs", "docs", "FILES.json", "inventory", "LICENSE", "MANIFEST.json"),
    *("meta", "playbooks", "plugins", "README.md", "requirements.txt", "requirements.yml", "roles", "SECURITY.md"),
    "tests",
}
README = "README.collection.md"  # the artifact's README.md: it is read by people without a checkout


def file() -> Path:
    return PLACE / f"canvas-fleet-{yaml.safe_load((ROOT / 'galaxy.yml').read_text())['version']}.tar.gz"


def source(folder: Path) -> None:
    """Every file that git has or would add, so that nothing of this machine gets into the artifact."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout.decode().split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():  # the link collections/… is a folder, a removed file may still be known
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / README, folder / "README.md")


def main() -> int:
    shutil.rmtree(PLACE, ignore_errors=True)
    source(PLACE / "source")
    subprocess.run([GALAXY, "collection", "build", "--output-path", PLACE], cwd=PLACE / "source", check=True)
    shutil.rmtree(PLACE / "source")
    subprocess.run([GALAXY, "collection", "install", "--offline", "--force", "-p", PLACE, file()], check=True)
    if wrong := {path.name for path in INSTALLED.iterdir()} ^ ROOMS:
        sys.stderr.write(f"build_ignore in galaxy.yml and ROOMS in {__file__} differ: {', '.join(sorted(wrong))}\n")
        return 1
    # Tools that look for files ask git, and the checkout's git ignores this folder.
    subprocess.run(["git", "init", "-q"], cwd=INSTALLED, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
