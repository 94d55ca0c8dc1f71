"""Our code as one file that Python runs, for long work and the supervisor, and the account of a work."""

from __future__ import annotations

import ast
import io
import pwd
import sys
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from ..core.errors import FleetError
from . import folders
from .ownership import Owner

PACKAGE = "ansible_collections/canvas/fleet/plugins/module_utils/"
ENTRY = """import sys
from {module} import main
raise SystemExit(main(sys.argv[1:]))
"""


def account(user: str) -> Owner:
    """The work's user and their group. Raises FleetError when the host has no such user."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise FleetError(
            "the work's user does not exist on this host",
            variable="user",
            found=f"no account {user}",
            remedy="run the role fleet_agent first; it makes the account",
        ) from None
    return Owner(found.pw_uid, found.pw_gid)


def provide_folder(path: Path, owner: Owner) -> None:
    """A folder that the owner can write to, and its parents. An existing one is left as it is."""
    try:
        folders.make(path, owner)
    except NotADirectoryError:
        raise FleetError(
            "a folder is needed here",
            found=f"{path} is no folder",
            remedy="move the file away, or choose another folder",
        ) from None


def payload(main: str) -> bytes:
    """A zip that Python executes: module `main` (its path below module_utils) and all of ours that it imports."""
    return packed(closure(main, sources()), main)


def sources() -> dict[str, bytes]:
    """Our files that this module was packed with, by path below module_utils; all when run from source."""
    for entry in sys.path:
        if entry.endswith((".zip", ".pyz")) and zipfile.is_zipfile(entry):  # a work, the supervisor
            with zipfile.ZipFile(entry) as source:
                names = [name for name in source.namelist() if name.startswith(PACKAGE)]
                if names:
                    return {name[len(PACKAGE) :]: source.read(name) for name in names}
    root = Path(__file__).resolve().parents[1]  # run from source, as tests do
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*.py")}


def imports(path: str, source: bytes, files: Collection[str]) -> set[str]:
    """Files of ours that the file at `path` imports: relative imports, in functions too."""
    package = path.split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) + 1 - node.level] + (node.module.split(".") if node.module else [])
            for places in ([*base, alias.name] for alias in node.names):
                whole, parent = "/".join(places) + ".py", "/".join(places[:-1]) + ".py"
                found.add(whole if whole in files else parent)
    return found


def closure(main: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """`main` and all that it imports. Raises KeyError when a part is not among `files`."""
    found: dict[str, bytes] = {}
    front = {main}
    while front:
        found.update({path: files[path] for path in front})
        front = {name for path in front for name in imports(path, files[path], files)} - set(found)
    return found


def packed(files: Mapping[str, bytes], main: str) -> bytes:
    """A zip with these files, the packages above them, and __main__.py. Equal files give equal bytes."""
    every = {f"{PACKAGE}{name}": content for name, content in files.items()}
    module = f"{PACKAGE}{main}".removesuffix(".py").replace("/", ".")
    every["__main__.py"] = ENTRY.format(module=module).encode()
    for name in list(every):
        for parent in list(Path(name).parents)[:-1]:
            every.setdefault(f"{parent}/__init__.py", b"")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(every):
            target.writestr(zipfile.ZipInfo(name), every[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()
