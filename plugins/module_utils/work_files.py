"""Files of long work: written by root into a folder that belongs to the work's user, and read from it.

The user may lay links there; nothing of root's is ever written or read through one.
"""

from __future__ import annotations

import io
import os
import pwd
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError

PACKAGE = "ansible_collections/canvas/fleet/plugins/module_utils/"
ENTRY = f"""import sys
from {PACKAGE.replace("/", ".")}work_main import main
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


def payload() -> bytes:
    """The code that this module runs from, as a zip that Python executes: our packed files and an entry point."""
    return packed(sources())


def sources() -> dict[str, bytes]:
    """Our files that this module was packed with, by their place in the zip; all of them when run from source."""
    for entry in sys.path:
        if entry.endswith(".zip") and zipfile.is_zipfile(entry):
            with zipfile.ZipFile(entry) as source:
                names = [name for name in source.namelist() if name.startswith("ansible_collections/")]
                if any(name.startswith(PACKAGE) for name in names):
                    return {name: source.read(name) for name in names}
    files = Path(__file__).resolve().parent.glob("*.py")  # run from source, as tests do
    return {f"{PACKAGE}{file.name}": file.read_bytes() for file in files}


def packed(files: Mapping[str, bytes], entry: str = ENTRY) -> bytes:
    """A zip with these files, the packages above them, and __main__.py. Equal files give equal bytes."""
    every = {**files, "__main__.py": entry.encode()}
    for name in files:
        for parent in list(Path(name).parents)[:-1]:
            every.setdefault(f"{parent}/__init__.py", b"")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(every):
            target.writestr(zipfile.ZipInfo(name), every[name], zipfile.ZIP_DEFLATED)
    return out.getvalue()
