"""Debian 12's own Python 3.11 as a tree that runs from any folder, taken out of the host image.

CPython finds its library from where its binary lies; only Debian's own habits (dist-packages, /usr/local, "externally
managed") have to be taken back. The shared libraries (libssl3, libffi8, …) stay the host's.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from demo.depot.parts import DepotError, files_below

LIBRARY = "lib/python3.11"
LEFT_OUT = re.compile(r"(^|/)(test/.*|EXTERNALLY-MANAGED|sitecustomize\.py|_distutils_system_mod\.py)$")
PATCHES = {
    "lib/python3.11/sysconfig.py": (b"prefix_scheme = 'posix_local'", b"prefix_scheme = 'posix_prefix'"),
    "lib/python3.11/site.py": (b'"dist-packages"', b'"site-packages"'),
    "bin/python3.11": (b"dist-packages", b"site-packages"),  # site.py is frozen into the binary; the words are as long
}


def extract(root: Path, tree: Path) -> str:
    """Copy Python out of the root file system `root` into `tree`; returns its version (3.11.2).

    Raises DepotError when there is no Python 3.11, or when Debian changed what is undone here.
    """
    binary, library = root / "usr/bin/python3.11", root / "usr" / LIBRARY
    if not binary.is_file() or not (library / "os.py").is_file():
        raise DepotError("the host image has no Python 3.11 with its library; it must be Debian 12 with python3")
    for path in files_below(library):
        name = str(path.relative_to(library))
        if not LEFT_OUT.search(name):
            (tree / LIBRARY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, tree / LIBRARY / name, follow_symlinks=False)
    (tree / "bin").mkdir()
    shutil.copy2(binary, tree / "bin/python3.11")
    for name in ("python3", "python"):
        (tree / "bin" / name).symlink_to("python3.11")
    undo_debian(tree)
    return version_of(tree)


def undo_debian(tree: Path) -> None:
    """Packages go to lib/python3.11/site-packages and scripts to bin, as in CPython and conda's python."""
    for name, (debian, upstream) in PATCHES.items():
        content = (tree / name).read_bytes()
        if debian not in content:
            raise DepotError(f"Debian's {name} is not as it was when this was written: it has no {debian.decode()!r}")
        (tree / name).write_bytes(content.replace(debian, upstream))
    (tree / LIBRARY / "site-packages").mkdir()
    (tree / LIBRARY / "site-packages" / "README.txt").write_text("Packages of this environment are installed here.\n")


def version_of(tree: Path) -> str:
    """The full version, as the binary itself carries it."""
    found = re.search(rb"\x00(3\.11\.\d+)\x00", (tree / "bin/python3.11").read_bytes())
    if found is None:
        raise DepotError("no version can be read from the image's python3.11")
    return found.group(1).decode()
