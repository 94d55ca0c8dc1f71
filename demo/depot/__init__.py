"""The depot: one folder with what a rented server finds on the internet (README.md says what is real)."""

from __future__ import annotations

import fcntl
import importlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo import image
from demo.depot import channel, hub, installer, python_tree, repositories, wheelhouse
from demo.depot.parts import Log, Result, made, place, sha256, write
from demo.podman import podman

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent
IN_CHANNEL = ("pip", "setuptools", "wheel")
EARLIER_CONFIG = b'{"model_type": "minicanvas", "note": "an earlier revision"}\n'
Job = tuple[Sequence[Path | str], Callable[[Path], Result]]


@contextmanager
def image_root(name: str) -> Iterator[Path]:
    """The image's root file system, to read from."""
    root = Path(podman("image", "mount", name).stdout.strip())
    try:
        yield root
    finally:
        podman("image", "unmount", name)


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """One build at a time: a second one waits, and then finds everything made."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_model(folder: Path) -> Result:
    return {"weights_parameters": importlib.import_module("demo.minicanvas.tiny_model").write_model(folder)}


def make_dataset(folder: Path) -> Result:
    importlib.import_module("demo.puzzles.generate").write_dataset(folder)
    return {f"{part}_sha256": sha256(folder / f"{part}_split.parquet") for part in ("train", "test")}


def make_python(folder: Path, picture: str) -> Result:
    with image_root(picture) as root:
        return {"python_version": python_tree.extract(root, folder)}


def make_git(folder: Path, dataset: Path) -> Result:
    with tempfile.TemporaryDirectory() as scratch:
        code = repositories.make_code(folder, DEMO / "minicanvas" / "BAGEL-Canvas", Path(scratch))
        data = repositories.make_data(folder, dataset, Path(scratch))
    return {"code_commits": code, "code_commit": code[-1], "data_commit": data[-1]}


def make_channel(folder: Path, python: Path, version: str, wheels: dict[str, Path]) -> Result:
    with tempfile.TemporaryDirectory() as scratch:
        names = channel.make_channel(folder, python, version, [wheels[name] for name in IN_CHANNEL], Path(scratch))
    return {"channel_packages": names}


def make_files(folder: Path, dataset: Path, python: Path, wheels: dict[str, Path]) -> Result:
    for path in dataset.iterdir():
        place(path, folder / path.name)
    with tempfile.TemporaryDirectory() as scratch:
        made_installer = installer.make_installer(folder, python, wheels["py-rattler"], Path(scratch))
    return {f"installer_{key}": value for key, value in made_installer.items()}


def build(cache: Path, out: Path, log: Log) -> dict[str, Any]:
    """Fill `out` (mounted at /srv/depot); returns what the demo's inventory needs, as JSON-able values.

    `cache` keeps what is costly (wheels, model, data set) and may outlive `out`; both should lie on one file system.
    Safe to cut anywhere; quick when nothing changed. Raises DepotError or PodmanError, one line, for what a user can
    mend.
    """
    begin = time.monotonic()
    picture = image.ensure("host")
    with locked(cache):
        out.mkdir(parents=True, exist_ok=True)
        facts = _materials(cache, log, picture)
        wheels = wheelhouse.fetch(cache, log)
        facts |= _shelves(cache, out, log, wheels, facts)
        write(out / "server.py", (HERE / "server.py").read_text())
    log(f"depot: ready in {time.monotonic() - begin:.1f} s")
    return facts | _addresses(wheels)


def _materials(cache: Path, log: Log, picture: str) -> Result:
    """Model, data set and Python, each in its folder of the cache."""
    image_id = podman("image", "inspect", "--format", "{{.Id}}", picture).stdout.strip()
    jobs: dict[str, Job] = {
        "dataset": ([DEMO / "puzzles"], make_dataset),
        "model": ([DEMO / "minicanvas", DEMO / "puzzles"], make_model),
        "python": ([image_id, HERE / "python_tree.py"], lambda folder: make_python(folder, picture)),
    }
    return _all_made(cache, jobs, log)


def _shelves(cache: Path, out: Path, log: Log, wheels: dict[str, Path], facts: Result) -> Result:
    """The folders that are served; each depends on its materials and on the code that makes it."""
    listing, dataset, python = wheelhouse.digest_input(wheels), cache / "dataset", cache / "python"
    python_stamp = (cache / ".python.stamp").read_text()
    data = [facts["train_sha256"], facts["test_sha256"]]
    jobs: dict[str, Job] = {
        "wheels": ([listing, HERE / "wheelhouse.py"], lambda f: wheelhouse.make_wheels(f, wheels)),
        "simple": ([listing, HERE / "wheelhouse.py"], lambda f: wheelhouse.make_simple(f, wheels)),
        "hf": ([HERE / "hub.py", cache / "model"], lambda f: hub.make_hub(f, cache / "model", EARLIER_CONFIG)),
        "git": ([HERE / "repositories.py", DEMO / "minicanvas", *data], lambda f: make_git(f, dataset)),
        "channel": (
            [HERE / "channel.py", python_stamp, listing],
            lambda f: make_channel(f, python, facts["python_version"], wheels),
        ),
        "files": (
            [HERE / "installer.py", HERE / "standin", python_stamp, listing, *data],
            lambda f: make_files(f, dataset, python, wheels),
        ),
    }
    return _all_made(out, jobs, log)


def _all_made(parent: Path, jobs: dict[str, Job], log: Log) -> Result:
    results: Result = {}
    for name, (inputs, make) in jobs.items():
        # this file decides what a folder's stamp remembers, so it belongs to the inputs of each
        results |= made(parent / name, [HERE / "__init__.py", *inputs], _timed(log, name, make))
    return results


def _timed(log: Log, name: str, make: Callable[[Path], Result]) -> Callable[[Path], Result]:
    def timed(folder: Path) -> Result:
        begin = time.monotonic()
        result = make(folder)
        log(f"depot: {name} made in {time.monotonic() - begin:.1f} s")
        return result

    return timed


def _addresses(wheels: dict[str, Path]) -> Result:
    """URL paths and pins; the address is the caller's."""
    pins = wheelhouse.pins(wheelhouse.PINS.read_text())
    return {
        "hub_path": "/hf",
        "hub_repo": hub.REPO,
        "hub_gated_repo": hub.GATED,
        "hub_token": hub.TOKEN,
        "code_git": "/MathCanvas.git",
        "data_git": "/BlockMovingSFT.git",
        "train_path": "/files/train_split.parquet",
        "test_path": "/files/test_split.parquet",
        "installer_path": f"/files/{installer.NAME}",
        "channel_path": "/channel",
        "index_path": "/simple/",
        "find_links_path": "/wheels/",
        "pip_packages": {name: version.removesuffix("+cpu") for name, version in pins.items()},
        "wheels_bytes": sum(wheel.stat().st_size for wheel in wheels.values()),
    }
