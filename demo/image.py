"""The images of the embedded fleet, each built once per machine: the tag is the digest of the recipe.

python -m demo.image      builds what is missing
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.podman import STATE, PodmanError, podman

RECIPE = Path(__file__).resolve().parent / "image"
# kind of image: the Debian release that it is made of
RELEASES = {"host": "bookworm", "depot": "bookworm", "trixie": "trixie"}


def tag(kind: str) -> str:
    """`localhost/canvas-fleet-host:<12 hex>`; kind is host, trixie or depot. The depot's digest covers the host's."""
    digest = hashlib.sha256(RELEASES[kind].encode())
    for path in sorted(RECIPE.iterdir()):
        if kind == "depot" or "depot" not in path.name:
            digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return f"localhost/canvas-fleet-{kind}:{digest.hexdigest()[:12]}"


def ensure(kind: str) -> str:
    """Builds the image if this machine does not have it; returns its tag. Safe when called twice at once."""
    name = tag(kind)
    if _exists(name):
        return name
    STATE.mkdir(mode=0o700, exist_ok=True)
    with (STATE / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _exists(name):
            _build_depot(name) if kind == "depot" else _build_host(name, RELEASES[kind])
    return name


def _exists(name: str) -> bool:
    return podman("image", "exists", name, check=False).returncode == 0


def _build_host(name: str, release: str) -> None:
    packages = ",".join((RECIPE / "packages").read_text().split())
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        rootfs = Path(folder) / "rootfs.tar"
        command = ["mmdebstrap", "--variant=minbase", f"--include={packages}", "--skip=cleanup/apt/lists"]
        hook = f'--customize-hook={shlex.quote(str(RECIPE / "customize"))} "$1"'
        done = subprocess.run(
            [*command, hook, release, str(rootfs)],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
        )
        if done.returncode:
            raise PodmanError(f"mmdebstrap failed (exit {done.returncode}): is the Debian mirror reachable?")
        # One layer, imported whole: a build from a Containerfile would copy it twice more.
        podman("import", "--change", 'CMD ["/canvas-fleet-init"]', str(rootfs), name)


def _build_depot(name: str) -> None:
    host = tag("host")
    if not _exists(host):  # the lock is held already
        _build_host(host, RELEASES["host"])
    words = ["--network", "host", "--build-arg", f"HOST={host}", "--file", str(RECIPE / "Containerfile.depot")]
    podman("build", *words, "--tag", name, str(RECIPE), timeout=900)


if __name__ == "__main__":
    for each in ("host", "depot"):
        print(ensure(each))
