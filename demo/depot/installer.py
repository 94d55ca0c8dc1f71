"""The stand-in for the Miniforge installer: a shell script with a tar.gz behind it."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

from demo.depot.parts import Result, files_below
from demo.depot.standin.conda_standin import VERSION

NAME = "Miniforge3-demo-Linux-x86_64.sh"
STANDIN = Path(__file__).with_name("standin")


def lay_out(tree: Path, wheel: Path, payload: Path) -> None:
    """The root environment: Python, rattler in its site-packages, and bin/conda."""
    shutil.copytree(tree, payload, symlinks=True)
    site = payload / "lib/python3.11/site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # noqa: S202  zipfile itself keeps names inside the folder
    shutil.copyfile(STANDIN / "conda_standin.py", site / "conda_standin.py")
    shutil.copyfile(STANDIN / "conda.sh", payload / "bin/conda")
    (payload / "bin/conda").chmod(0o755)
    record = {"name": "conda", "version": VERSION, "build": "standin_0", "build_number": 0, "channel": ""}
    (payload / "conda-meta").mkdir(exist_ok=True)
    (payload / f"conda-meta/conda-{VERSION}-standin_0.json").write_text(json.dumps(record, indent=2) + "\n")


def tar_gz(payload: Path) -> bytes:
    """The same bytes for the same files: no owner, no date."""
    packed = BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in files_below(payload):
            info = archive.gettarinfo(str(path), str(path.relative_to(payload)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 1767225600
            if info.isreg() or info.islnk():
                info.type = tarfile.REGTYPE
                info.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    return packed.getvalue()


def make_installer(folder: Path, tree: Path, wheel: Path, scratch: Path) -> Result:
    """`folder`/NAME; returns its name, sha256 and size in bytes."""
    payload = scratch / "payload"
    lay_out(tree, wheel, payload)
    packed = tar_gz(payload)
    script = (STANDIN / "installer.sh").read_text()
    script = script.replace("@SIZE@", str(len(packed))).replace("@SHA256@", hashlib.sha256(packed).hexdigest())
    content = script.encode() + packed
    (folder / NAME).write_bytes(content)
    (folder / NAME).chmod(0o755)
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
