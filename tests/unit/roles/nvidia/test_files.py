import base64
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.masking import masked
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import distributions, openpgp
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import files as nvidia_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi
from ansible_collections.canvas.fleet.plugins.module_utils.system import http

from tests.unit.support.fake_host import FakeHost
from tests.unit.support.places import FIXTURES

KEYS = FIXTURES / "openpgp"
SMI = FIXTURES / "nvidia-smi"
ARMORED, BINARY = (KEYS / "rsa.asc").read_bytes(), (KEYS / "rsa.gpg").read_bytes()
RSA = "54ABC57952B533E19ECD14134ECE32FA1CD54C40"
DEBIAN = distributions.SYSTEMS[("debian", "12")]
EL = distributions.SYSTEMS[("el", "9")]
SETTINGS = {
    "nvidia_gpu_expected": True,
    "nvidia_driver_branch": "580",
    "nvidia_cuda_version": "12.8",
    "nvidia_cuda_home": "/usr/local/cuda-12.8",
    "nvidia_toolkit": True,
    "nvidia_hold": True,
    "nvidia_reboot": "when_needed",
    "fleet_state_dir": "/nowhere",
    "nvidia_repository_url": "https://mirror.test/cuda/repos/",
    "nvidia_repository_key_url": "",
    "nvidia_repository_fingerprint": RSA,
    "nvidia_busy_ignore_below": "",
}


@pytest.fixture
def served(monkeypatch):
    """Let the key's address answer with these bytes; returns the addresses that were asked."""

    def serve(data):
        asked = []
        monkeypatch.setattr(http, "read", lambda url, limit, proxies: asked.append(url) or data)
        return asked

    return serve


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Everything that is written lands below a folder of the test."""
    monkeypatch.setattr(nvidia_files, "KEYRINGS", {name: f"{tmp_path}/key.{name}" for name in ("debian", "el")})
    monkeypatch.setattr(nvidia_files, "NOUVEAU_PATH", f"{tmp_path}/nouveau.conf")
    monkeypatch.setattr(nvidia, "PROFILE", f"{tmp_path}/profile.sh")
    monkeypatch.setitem(SETTINGS, "fleet_state_dir", f"{tmp_path}/state")
    return tmp_path


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """The host's programs; no proxy is set for its apt."""
    made = FakeHost()
    made.behind(monkeypatch)
    return made


def test_the_key_is_taken_by_its_fingerprint_and_kept_in_apt_s_form(place, served):
    asked = served(ARMORED)
    assert nvidia_files.key(DEBIAN, SETTINGS) == BINARY
    assert asked == ["https://mirror.test/cuda/repos/debian12/x86_64/3bf863cc.pub"]
    assert nvidia_files.key(EL, SETTINGS) == ARMORED


def test_a_key_that_is_here_already_is_not_asked_for_again(place, served):
    Path(nvidia_files.KEYRINGS["debian"]).write_bytes(BINARY)
    asked = served(b"")
    assert nvidia_files.key(DEBIAN, SETTINGS) == BINARY
    assert asked == []


def test_a_rotated_key_replaces_the_one_that_is_here(place, served):
    Path(nvidia_files.KEYRINGS["debian"]).write_bytes(BINARY)
    new = (KEYS / "ed25519.asc").read_bytes()
    served(new)
    settings = {**SETTINGS, "nvidia_repository_fingerprint": openpgp.fingerprints(new)[0]}
    assert nvidia_files.key(DEBIAN, settings) == openpgp.dearmored(new)


WRONG = {
    "another key": ((KEYS / "ed25519.asc").read_bytes(), "AD75EED4698133398C9D2FA0C26A239E7B80DFBE"),
    "another block beside the right one": (ARMORED + (KEYS / "ed25519.asc").read_bytes(), "more than one block"),
    "another key beside the right one": (BINARY + openpgp.dearmored((KEYS / "ed25519.asc").read_bytes()), "AD75EED4"),
    "a page of a portal": (b"<html>please log in</html>", "no OpenPGP key"),
    "nothing": (b"", "no OpenPGP key"),
}


@pytest.mark.parametrize("system", [DEBIAN, EL], ids=["Debian", "EL"])
@pytest.mark.parametrize(("data", "words"), WRONG.values(), ids=WRONG)
def test_what_is_not_the_key_is_refused(place, served, data, words, system):
    served(data)
    with pytest.raises(FleetError) as caught:
        nvidia_files.key(system, SETTINGS)
    assert caught.value.variable == "nvidia_repository_fingerprint"
    assert words in masked(caught.value.found)
    assert RSA in masked(str(caught.value)), "people compare it"


def test_a_key_that_can_not_be_had_names_the_way(place):
    with pytest.raises(FleetError) as caught:
        nvidia_files.key(DEBIAN, {**SETTINGS, "nvidia_repository_key_url": (place / "none").as_uri()})
    assert caught.value.variable == "nvidia_repository_key_url"


PROXIES = {
    "none": ("", {}),
    "https goes http's way": ("Acquire::http::Proxy=http://p:1\n", {"http": "http://p:1", "https": "http://p:1"}),
    "each its own": (
        "Acquire::http::Proxy=http://p:1\nAcquire::https::Proxy=http://q:2\n",
        {"http": "http://p:1", "https": "http://q:2"},
    ),
    "past the proxy": ("Acquire::http::Proxy=http://p:1\nAcquire::https::Proxy=DIRECT\n", {"http": "http://p:1"}),
}


@pytest.mark.parametrize(("dump", "proxies"), PROXIES.values(), ids=PROXIES)
def test_the_key_comes_apt_s_way(machine, dump, proxies):
    machine.proxies = dump
    assert nvidia_files.apt_proxies() == proxies


def test_the_key_is_asked_of_the_proxy(machine):
    machine.proxies = "Acquire::http::Proxy=http://127.0.0.1:9\n"
    with pytest.raises(FleetError, match="refused"):
        nvidia_files.read_url("http://mirror.invalid/key")


def test_the_repository_of_each_family():
    key, source = nvidia_files.repository(DEBIAN, SETTINGS, b"k")
    assert (key.data, source.path) == (b"k", "/etc/apt/sources.list.d/canvas-fleet-nvidia.sources")
    assert b"URIs: https://mirror.test/cuda/repos/debian12/x86_64/\nSuites: /\nSigned-By: /usr/share/" in source.data
    _, repo = nvidia_files.repository(EL, SETTINGS, b"k")
    assert b"baseurl=https://mirror.test/cuda/repos/rhel9/x86_64/\nenabled=1\ngpgcheck=1\n" in repo.data


def test_the_pin_chooses_the_branch_of_a_driver_that_is_ours_and_of_no_other():
    ours, theirs = (nvidia_files.pins(branch).data.decode() for branch in ("580", ""))
    assert "Pin: release l=NVIDIA CUDA\nPin-Priority: 600\n" in theirs
    assert ours.startswith(theirs)
    assert "\n\nPackage: nvidia-* lib*nvidia* " in ours
    assert ours.endswith("\nPin: version 580.*\nPin-Priority: 1001\n")
    assert "1001" not in theirs


@pytest.fixture
def h100(place, monkeypatch):
    """A Debian 12 host with one H100 and nothing else; `seen` may be changed by the test."""
    seen = {
        "state": "absent",
        "detail": "no nvidia-smi on this host",
        "devices": [0x2330],
        "boot": "this one",
        "nouveau": True,
        "kernel": "6.1.0-x",
        "machine": "x86_64",
        "release": {"ID": "debian", "VERSION_ID": "12"},
    }

    def look(settings):
        profile = Path(nvidia.PROFILE)
        text = profile.read_text() if profile.exists() else ""
        return wire.from_dict(nvidia.Observation, {**seen, "profile": text})

    monkeypatch.setattr(nvidia, "observe", look)
    monkeypatch.setattr(http, "read", lambda url, limit, proxies: ARMORED)
    return seen


def works():
    """What a working driver says, as plain data."""
    text = (SMI / "580.159.04" / "nvidia-smi-q.xml").read_text()
    return wire.to_dict(nvidia_smi.observe_gpus("x", lambda tool: text))


NEW = ["linux-headers-6.1.0-x", "nvidia-open", "nvidia-persistenced", "cuda-toolkit-12-8"]


def files_of(result):
    return {Path(item["path"]).name: base64.b64decode(item["data"]) for item in result["work"]["files"]}


def test_a_bare_host_gets_its_files_and_the_work_its_packages_with_their_repository(h100, place):
    result = nvidia_files.converge(SETTINGS, check=False)
    assert result["work"]["wanted"]
    assert (result["restart"], result["warnings"]) == (True, [])
    assert list(place.iterdir()) == [], "the profile comes with the toolkit"
    order = result["work"]
    assert (order["family"], order["packages"], order["wanted"], order["hold_new"]) == ("debian", NEW, True, True)
    files = files_of(result)
    assert sorted(files) == ["canvas-fleet-nvidia", "canvas-fleet-nvidia.sources", "key.debian", "nouveau.conf"]
    assert files["key.debian"] == BINARY
    assert b"Pin: version 580.*" in files["canvas-fleet-nvidia"]


def test_a_source_of_the_user_s_is_used_and_none_is_added(h100):
    h100["foreign_source"] = "/etc/apt/sources.list.d/cuda-debian12-x86_64.list"
    result = nvidia_files.converge(SETTINGS, check=False)
    assert sorted(files_of(result)) == ["canvas-fleet-nvidia", "nouveau.conf"]
    assert result["work"]["source"] == "/etc/apt/sources.list.d/cuda-debian12-x86_64.list"


def test_our_source_beside_one_of_the_user_s_is_the_work_s_to_remove(h100):
    real = works()
    h100.update(real, toolkit=True, own_source="/etc/ours", foreign_source="/etc/apt/sources.list.d/cuda.list")
    order = nvidia_files.converge(SETTINGS, check=False)["work"]
    assert (order["wanted"], order["remove"], order["packages"], order["files"]) == (True, ["/etc/ours"], [], [])


def test_el_has_its_own_source(h100):
    h100.update(release={"ID": "rocky", "VERSION_ID": "9.4"})
    assert nvidia_files.converge(SETTINGS, check=True)["work"]["source"] == nvidia_packages.OWN_SOURCES["el"]


def test_a_toolkit_beside_a_driver_of_the_user_s_pins_no_branch(h100):
    real = works()
    h100.update(real)
    result = nvidia_files.converge(SETTINGS, check=False)
    assert result["work"]["packages"] == ["cuda-toolkit-12-8"]
    assert result["work"]["hold_new"] is False
    assert b"1001" not in files_of(result)["canvas-fleet-nvidia"]


def test_a_dry_run_says_the_same_and_writes_nothing(h100, place):
    result = nvidia_files.converge(SETTINGS, check=True)
    assert (result["changed"], result["packages"]) == (True, NEW)
    assert any("Signed-By" in part["after"] for part in result["diff"])
    assert list(place.iterdir()) == []


def test_a_restart_waits_for_a_training_and_for_leave(h100, machine):
    assert not nvidia_files.converge({**SETTINGS, "nvidia_reboot": "never"}, check=False)["restart"]
    machine.trainings = ["canvas-training-atlas.service"]
    result = nvidia_files.converge(SETTINGS, check=False)
    assert not result["restart"]
    assert "canvas-training-atlas.service runs" in result["warnings"][0]


def test_a_driver_under_a_running_training_is_told_before(h100, machine):
    machine.trainings = ["canvas-training-atlas.service"]
    result = nvidia_files.converge({**SETTINGS, "nvidia_reboot": "never"}, check=True)
    assert any("waits: canvas-training-atlas.service runs" in text for text in result["warnings"])


def test_a_restart_that_was_asked_for_is_remembered_until_the_driver_works(h100, place):
    h100.update(state="broken", trouble="not_loaded", detail="x", module_installed=True, toolkit=True)
    nvidia_files.converge(SETTINGS, check=True)
    assert not (place / "state").exists()
    assert nvidia_files.converge(SETTINGS, check=False)["restart"]
    kept = nvidia.record("/", SETTINGS["fleet_state_dir"])
    assert kept.restart == nvidia.Restart("this one", "not_loaded 6.1.0-x")
    h100.update(record=wire.to_dict(kept), boot="the next")
    with pytest.raises(FleetError, match="NVIDIA_DRIVER_BROKEN"):
        nvidia_files.converge(SETTINGS, check=False)
    assert nvidia.record("/", SETTINGS["fleet_state_dir"]) == kept
    h100.update(works())
    nvidia_files.converge(SETTINGS, check=False)
    assert list((place / "state").iterdir()) == []


def test_a_converged_host_is_left_alone(h100, place):
    h100.update(toolkit=True)
    assert nvidia_files.converge(SETTINGS, check=False)["changed"]
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    real = works()
    h100.update(real, toolkit=True, toolkits=["cuda-12.8"], nouveau=False)
    result = nvidia_files.converge(SETTINGS, check=False)
    assert (result["changed"], result["work"]["wanted"], result["diff"]) == (False, False, [])
    assert result["detail"] == "nothing to do: 1 × NVIDIA H100 80GB HBM3, driver 580.159.04 serves CUDA 12.8"
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before


def test_a_host_without_a_gpu_is_refused_and_untouched(h100, place):
    h100["devices"] = []
    with pytest.raises(FleetError, match="NO_GPU") as caught:
        nvidia_files.converge(SETTINGS, check=False)
    assert caught.value.variable == "nvidia_gpu_expected"
    assert list(place.iterdir()) == []


def test_libraries_that_wait_for_a_restart_are_a_warning_here(h100):
    h100.update(state="broken", trouble="mismatch", detail="Driver/library version mismatch", toolkit=True)
    result = nvidia_files.converge({**SETTINGS, "nvidia_reboot": "never"}, check=False)
    assert result["packages"] == []
    assert "Driver/library version mismatch" in result["warnings"][0]
