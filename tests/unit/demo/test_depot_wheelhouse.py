"""The package index: filled by pip itself, from a folder that stands for the internet."""

from __future__ import annotations

import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from demo.depot import parts, server, wheelhouse

PINS = "# a comment\ntorch==2.13.0+cpu\nNice_Name==1.0\nplain==2.0\n"
World = Callable[..., Path]


def make_wheel(folder: Path, name: str, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name.lower()}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A folder of wheels that pip finds by its own configuration, and nothing else in the world."""

    def make(*wheels: tuple[str, str]) -> Path:
        folder = tmp_path / "world"
        for name, version in wheels:
            make_wheel(folder, name, version)
        (tmp_path / "cpu").mkdir(exist_ok=True)
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "an-empty-index").as_uri())
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
        monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
        monkeypatch.setattr(wheelhouse, "CPU_INDEX", (tmp_path / "cpu").as_uri())
        (tmp_path / "wheels.txt").write_text(PINS)
        monkeypatch.setattr(wheelhouse, "PINS", tmp_path / "wheels.txt")
        return folder

    return make


ALL = [("torch", "2.13.0+cpu"), ("torch", "2.13.0"), ("nice_name", "1.0"), ("plain", "2.0"), ("plain", "3.0")]


def test_every_pin_is_fetched_once(world: World, tmp_path: Path) -> None:
    folder, lines = world(*ALL), list[str]()
    wheels = wheelhouse.fetch(tmp_path / "cache", lines.append)
    assert {name: path.name.split("-")[1] for name, path in wheels.items()} == wheelhouse.pins(PINS)
    assert any("plain-2.0-py3-none-any.whl" in line and "MB" in line for line in lines)
    for wheel in folder.iterdir():
        wheel.unlink()
    lines.clear()
    assert wheelhouse.fetch(tmp_path / "cache", lines.append) == wheels
    assert lines == []


def test_torch_is_never_a_cuda_build(world: World, tmp_path: Path) -> None:
    world(*(wheel for wheel in ALL if wheel[1] != "2.13.0+cpu"))
    with pytest.raises(parts.DepotError, match=r"no CPU build of torch 2\.13\.0\+cpu can be had"):
        wheelhouse.fetch(tmp_path / "cache", lambda line: None)
    assert not list((tmp_path / "cache" / "wheels").glob("torch*"))


def test_torch_comes_from_the_cpu_index_where_pip_knows_none(world: World, tmp_path: Path) -> None:
    world(*(wheel for wheel in ALL if wheel[1] != "2.13.0+cpu"))
    wheel = make_wheel(tmp_path / "cpu" / "torch", "torch", "2.13.0+cpu")
    (tmp_path / "cpu" / "torch" / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    lines: list[str] = []
    assert "torch" in wheelhouse.fetch(tmp_path / "cache", lines.append)
    assert any("asking" in line for line in lines)


def test_a_missing_package_is_named_in_one_line(world: World, tmp_path: Path) -> None:
    world(*(wheel for wheel in ALL if wheel[0] != "plain"))
    with pytest.raises(parts.DepotError, match=r"pip cannot fetch .*plain==2\.0") as caught:
        wheelhouse.fetch(tmp_path / "cache", lambda line: None)
    assert "\n" not in str(caught.value)


def test_a_part_of_a_download_is_not_taken_for_the_whole(world: World, tmp_path: Path) -> None:
    world(*ALL)
    aside = tmp_path / "cache" / ".wheels.part"
    aside.mkdir(parents=True)
    (aside / "plain-2.0-py3-none-any.whl").write_bytes(b"PK cut off here")
    wheels = wheelhouse.fetch(tmp_path / "cache", lambda line: None)
    assert all(zipfile.is_zipfile(wheel) for wheel in wheels.values())
    assert not aside.exists()


def test_pip_installs_from_the_pages(world: World, tmp_path: Path) -> None:
    world(*ALL)
    wheels = wheelhouse.fetch(tmp_path / "cache", lambda line: None)
    out = tmp_path / "out"
    wheelhouse.make_wheels(out / "wheels", wheels)
    wheelhouse.make_simple(out / "simple", wheels)
    with server.make_server(out, 0, "127.0.0.1") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        index = f"http://127.0.0.1:{running.server_address[1]}/simple/"
        options = ["--quiet", "--isolated", "--no-deps", "--index-url", index, "--target", str(tmp_path / "t")]
        names = ["torch==2.13.0", "nice.name", "plain"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *options, *names], check=False, capture_output=True, text=True
        )
        running.shutdown()
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "torch.py").read_text() == "version = '2.13.0+cpu'\n"


def test_the_real_pins_name_the_cpu_build_and_agree_with_the_controller() -> None:
    pinned = wheelhouse.pins(wheelhouse.PINS.read_text())
    assert pinned["torch"].endswith("+cpu")
    checkout = Path(wheelhouse.__file__).parents[2]
    controller = wheelhouse.pins((checkout / "requirements.txt").read_text())
    controller |= wheelhouse.pins((checkout / "requirements-dev.txt").read_text())
    assert {name: pinned[name] for name in pinned.keys() & controller.keys()} == {
        name: controller[name] for name in pinned.keys() & controller.keys()
    }
