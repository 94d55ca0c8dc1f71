"""What is read of dpkg, of apt's sources, and of systemd."""

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia.packages import (
    foreign_source,
    of_version,
    upstream,
)
from ansible_collections.canvas.fleet.plugins.module_utils.system import programs, units

from tests.unit.support.places import FIXTURES

KEYS = FIXTURES / "openpgp"
STATUS = """\
Package: nvidia-open
Status: hold ok installed
Version: 580.159.04-1

Package: libnvidia-ml1
Status: install ok installed
Architecture: amd64
Version: 580.159.04-1

Package: nvidia-container-toolkit
Status: install ok installed
Version: 1.17.8-1

Package: libnvcuvid1
Status: install ok installed
Version: 580.159.04-1

Package: nvidia-kernel-dkms
Status: deinstall ok config-files
Version: 535.1-1

Package: python3
Status: install ok installed
Version: 3.11.2-1
"""


def laid(root, **files):
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


def test_the_driver_s_packages_are_those_of_its_version(tmp_path):
    found = nvidia_packages.installed(laid(tmp_path, **{"var/lib/dpkg/status": STATUS}))
    assert sorted(found) == ["libnvcuvid1", "libnvidia-ml1", "nvidia-container-toolkit", "nvidia-open"]
    assert found["nvidia-open"] == nvidia_packages.Package("580.159.04-1", held=True)
    assert of_version(found, "580.159.04") == ["libnvcuvid1", "libnvidia-ml1", "nvidia-open"]


def test_a_host_without_dpkg_has_none(tmp_path):
    assert nvidia_packages.installed(str(tmp_path)) == {}


@pytest.mark.parametrize(
    ("version", "driver"),
    [("580.95.05-1", "580.95.05"), ("3:580.95.05-1.el9", "580.95.05"), ("580.95.05-0ubuntu0.24.04.1", "580.95.05")],
    ids=["Debian", "an epoch", "Ubuntu"],
)
def test_the_driver_s_version_in_a_package_s(version, driver):
    assert upstream(version) == driver


URL = "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/"
SOURCES = {
    "the file of NVIDIA's own keyring package": (
        "cuda-debian12-x86_64.list",
        f"deb [signed-by=/k.gpg] {URL} /\n",
        True,
    ),
    "the newer form": ("nvidia.sources", f"Types: deb\nURIs: {URL}\nSuites: /\n", True),
    "without the slash at its end": ("nvidia.sources", f"Types: deb\nURIs: {URL[:-1]}\nSuites: /\n", True),
    "a comment": ("old.list", f"# deb {URL} /\n", False),
    "another distribution's": ("cuda.list", f"deb {URL.replace('12', '11')} /\n", False),
    "one that is switched off": ("nvidia.sources", f"Enabled: no\nTypes: deb\nURIs: {URL}\nSuites: /\n", False),
    "one beside another that is switched off": (
        "nvidia.sources",
        f"Types: deb\nURIs: https://deb.test\nEnabled: no\n\nTypes: deb\nURIs: {URL}\nSuites: /\n",
        True,
    ),
    "our own": ("canvas-fleet-nvidia.sources", f"URIs: {URL}\n", False),
}


@pytest.mark.parametrize(("name", "text", "foreign"), SOURCES.values(), ids=SOURCES)
def test_a_source_of_the_user_s_for_the_same_address(tmp_path, name, text, foreign):
    root = laid(tmp_path, **{f"etc/apt/sources.list.d/{name}": text})
    assert foreign_source(root, URL) == (f"/etc/apt/sources.list.d/{name}" if foreign else "")


def test_a_source_in_apt_s_oldest_place(tmp_path):
    root = laid(tmp_path, **{"etc/apt/sources.list": f"deb https://deb.test bookworm main\ndeb {URL} /\n"})
    assert foreign_source(root, URL) == "/etc/apt/sources.list"


@pytest.mark.parametrize(
    ("rest", "foreign"),
    [
        ("", True),
        ("enabled=1\n", True),
        ("enabled = 0\n", False),
        ("\nenabled=0\n", False),
        ("\n[other]\nenabled=0\n", True),
    ],
    ids=["by default", "on", "off", "off behind an empty line", "another section's switch"],
)
def test_a_source_of_dnf_s(tmp_path, rest, foreign):
    text = f"[base]\nbaseurl=https://x.test/\nenabled=0\n[cuda]\nbaseurl={URL}\n{rest}"
    root = laid(tmp_path, **{"etc/yum.repos.d/cuda-rhel9.repo": text})
    assert foreign_source(root, URL) == ("/etc/yum.repos.d/cuda-rhel9.repo" if foreign else "")


def test_our_own_source_is_told_by_its_place(tmp_path):
    assert nvidia_packages.own_source(str(tmp_path), "el") == ""
    root = laid(tmp_path, **{nvidia_packages.OWN_SOURCES["el"].lstrip("/"): ""})
    assert nvidia_packages.own_source(root, "el") == "/etc/yum.repos.d/canvas-fleet-nvidia.repo"


def test_the_key_on_the_host_is_told_by_its_fingerprint(tmp_path):
    assert nvidia_packages.key_fingerprints(str(tmp_path), "debian") == []
    place = tmp_path / nvidia_packages.KEYRINGS["debian"].lstrip("/")
    place.parent.mkdir(parents=True)
    place.write_bytes((KEYS / "rsa.gpg").read_bytes())
    assert nvidia_packages.key_fingerprints(str(tmp_path), "debian") == ["54ABC57952B533E19ECD14134ECE32FA1CD54C40"]
    place.write_text("<html>")
    assert nvidia_packages.key_fingerprints(str(tmp_path), "debian") == []


def test_services_that_are_installed(monkeypatch):
    shown = (
        "Id=nvidia-persistenced.service\nLoadState=loaded\nActiveState=inactive\n\n"
        "Id=nvidia-fabricmanager.service\nLoadState=not-found\nActiveState=inactive\n"
    )
    monkeypatch.setattr(programs, "run", lambda *argv, **named: programs.Done(0, shown))
    assert nvidia_packages.services() == {"nvidia-persistenced": "inactive"}


def test_no_systemd_no_services(monkeypatch):
    monkeypatch.setattr(units, "PATH", "/nonexistent")
    assert nvidia_packages.services() == {}
