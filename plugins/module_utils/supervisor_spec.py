"""What the supervisor is told: the spec, and the file that holds its code. Pure, but for reading our own source.

The code goes to the host as one zip, <state_dir>/supervisor/<digest>.pyz: the supervisor and all that it imports of
ours. Its name is the digest of what is in it, so a new version is a new file, and what runs keeps the one it runs from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.work_files import PACKAGE, packed, sources

MAIN = "supervisor"
ENTRY = f"""import sys
from {PACKAGE.replace("/", ".")}{MAIN} import main
raise SystemExit(main(sys.argv[1:]))
"""
_FROM = re.compile(r"^\s*from ansible_collections\.canvas\.fleet\.plugins\.module_utils\.(\w+) import", re.MULTILINE)
_PACKAGE = re.compile(
    r"^\s*from ansible_collections\.canvas\.fleet\.plugins\.module_utils import (\([^)]*\)|[^\n]*)", re.MULTILINE
)


def imports(text: str) -> set[str]:
    """Our own modules that a source imports, by name."""
    names = set(_FROM.findall(text))
    for group in _PACKAGE.findall(text):
        names.update(re.findall(r"\w+", group.partition("#")[0]))
    return names


def closure(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The supervisor and what it imports, by path in the zip. Raises KeyError when a part is not among `files`."""
    found: dict[str, bytes] = {}
    front = {MAIN}
    while front:
        paths = {name: f"{PACKAGE}{name}.py" for name in front}
        found.update({path: files[path] for path in paths.values()})
        wanted = {name for path in paths.values() for name in imports(files[path].decode())}
        front = {name for name in wanted if f"{PACKAGE}{name}.py" not in found}
    return found


@lru_cache(maxsize=1)
def payload() -> tuple[str, bytes]:
    """(name of the file, its content)."""
    _load()
    parts = closure(sources())
    digest = hashlib.sha256()
    for name in sorted(parts):
        digest.update(f"{name}\0{len(parts[name])}\0".encode() + parts[name])
    return f"{digest.hexdigest()[:16]}.pyz", packed(parts, ENTRY)


def _load() -> None:
    """Ansible packs with a module what the module's sources import: here, what only the payload needs."""
    from ansible_collections.canvas.fleet.plugins.module_utils import supervisor  # noqa: F401 - read, not called


def text(values: Mapping[str, Any]) -> str:
    """The spec as it lies on the disk."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"
