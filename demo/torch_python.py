"""A Python with torch on this machine, for the tests that run the demo's trainer itself; made of what the depot serves.

python -m demo.torch_python      makes it when it is not there; prints its path
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from demo.fleet import CONTENT, RECORD
from demo.podman import CHECKOUT

ROOT = CHECKOUT / ".cache" / "torch"
PYTHON = ROOT / "env" / "bin" / "python"
WANTED = ("torch", "numpy", "pyarrow", "pillow", "pyyaml", "safetensors")


def ensure() -> Path:
    """The interpreter. The same steps as on a host: installer, environment of the channel, wheels of the index."""
    depot = json.loads(RECORD.read_text())
    packages = [f"{name}=={depot['pip_packages'][name]}" for name in WANTED]
    stamp, made_of = ROOT / "made-of", " ".join([depot["installer_sha256"], *packages])
    if stamp.exists() and stamp.read_text() == made_of:
        return PYTHON
    shutil.rmtree(ROOT, ignore_errors=True)
    url = f"http://{depot['address']}"
    _run("bash", str(CONTENT / depot["installer_path"].lstrip("/")), "-b", "-p", str(ROOT))
    create = [str(ROOT / "bin" / "conda"), "create", "--yes", "--prefix", str(PYTHON.parents[1])]
    _run(*create, "--override-channels", "--channel", f"{url}{depot['channel_path']}", "python=3.11", "pip")
    index = ["--index-url", f"{url}{depot['index_path']}", "--trusted-host", depot["address"]]
    _run(str(PYTHON), "-m", "pip", "install", "--progress-bar", "off", *index, *packages)
    stamp.write_text(made_of)
    return PYTHON


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


if __name__ == "__main__":
    print(ensure())
