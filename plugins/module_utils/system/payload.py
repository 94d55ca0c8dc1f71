"""Files of long work: written by root into a folder that belongs to the work's user, and read from it.

The user may lay links there; nothing of root's is ever written or read through one.
"""

from __future__ import annotations

import ast
import io
import os
import pwd
import sys
import tempfile
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from ..core.errors import FleetError

PACKAGE = "ansible_collections/canvas/fleet/plugins/module_utils/"
ENTRY = """import sys
from {module} import main
raise SystemExit(main(sys.argv[1:]))
"""


def account(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise FleetError(
            "the work's user does not exist on this host",
            variable="user",
            found=f"no account {user}",
            remedy="let the fleet_agent role run first; it makes the account",
        ) from None


def open_folder(path: Path) -> None:
    """Root's, and anybody may pass through; also one that an earlier version made under a login's umask of 027."""
    path.mkdir(parents=True, exist_ok=True)
    if closed(path):
        path.chmod(0o755)


def closed(path: Path) -> bool:
    """Ours, and not everybody may pass through."""
    found = path.stat()
    return found.st_uid == os.geteuid() and found.st_mode & 0o005 != 0o005


def make_folder(path: Path, owner: pwd.struct_passwd) -> None:
    """0700 and the owner's; the folders above stay root's, so that nobody else can exchange it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.mkdir(exist_ok=True, mode=0o700)
    os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    path.chmod(0o700)


def provide_folder(path: Path, owner: pwd.struct_passwd) -> None:
    """A folder that the owner may write to, with those above it; one that exists is left as it is."""
    missing = [place for place in (path, *path.parents) if not os.path.lexists(place)]
    for place in reversed(missing):
        place.mkdir(mode=0o755)
        os.chown(place, owner.pw_uid, owner.pw_gid)
    if not path.is_dir():
        raise FleetError(
            "a folder is needed here",
            found=f"{path} is no folder",
            remedy="move the file away, or choose another folder",
        )


def write_as(path: Path, content: bytes, owner: pwd.struct_passwd) -> None:
    """0600 and the owner's, in one step; never through a link that the owner laid there."""
    descriptor, aside = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as out:
        os.fchown(descriptor, owner.pw_uid, owner.pw_gid)
        out.write(content)
    os.replace(aside, path)


def read_own(path: Path, limit: int = 1 << 20) -> bytes:
    """The last `limit` bytes of a plain file; nothing for what is absent, and links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as source:
        size = os.fstat(descriptor).st_size
        source.seek(max(0, size - limit))
        return source.read(limit)


def payload(main: str) -> bytes:
    """A zip that Python executes: module `main` (its path below module_utils) and all of ours that it imports."""
    return packed(closure(main, sources()), main)


def sources() -> dict[str, bytes]:
    """Our files that this module was packed with, by path below module_utils; all when run from source."""
    for entry in sys.path:
        if entry.endswith(".zip") and zipfile.is_zipfile(entry):
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
