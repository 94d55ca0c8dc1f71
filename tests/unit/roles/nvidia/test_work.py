"""work() against a host whose apt is a table; Debian's own apt is asked in molecule/nvidia."""

import base64
import json
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import apt as nvidia_apt
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import files as nvidia_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import work as nvidia_work
from ansible_collections.canvas.fleet.plugins.module_utils.system import packages

from tests.unit.support.fake_host import FakeHost, KilledError

VERSION = "580.159.04-1"
WANTED = ["linux-headers-6.1.0-x", "nvidia-open", "nvidia-persistenced", "nvidia-fabricmanager"]


class Host(FakeHost):
    """A Debian whose apt is a table; dpkg's status file says what is installed, as on a real one."""

    def __init__(self, status):
        super().__init__()
        self.status, self.installed, self.held = status, {}, set()
        self.candidate, self.versions = VERSION, ["610.43.02-1", "590.48.01-1", VERSION]
        self.fabric = ["580.173.02-1", VERSION]

    def answer(self, argv):
        said = self.act(argv)
        stanza = "Package: {}\nStatus: {} ok installed\nVersion: {}\n"
        known = self.installed.items()
        text = [stanza.format(name, "hold" if name in self.held else "install", version) for name, version in known]
        self.status.write_text("\n".join(text))
        return said

    def act(self, argv):
        if argv[:2] == ("apt-cache", "policy"):
            return [f"  Candidate: {self.candidate}"]
        if argv[:2] == ("apt-cache", "madison"):
            versions = self.fabric if "fabric" in argv[2] else self.versions
            return [f" {argv[2]} | {version} | file:/srv" for version in versions]
        if argv[0] == "apt-mark" and argv[1] != "auto":
            (self.held.update if argv[1] == "hold" else self.held.difference_update)(argv[2:])
        if argv[0] == "apt-get" and "install" in argv:
            names = [name for name in argv[argv.index("install") + 1 :] if not name.startswith("-")]
            fresh = [name.split("=")[0] for name in names if name.split("=")[0] not in self.installed]
            if "--simulate" in argv:
                origin = {name: "Debian:12" if name.startswith("linux") else "NVIDIA CUDA:" for name in fresh}
                return [f"Inst {name} ({VERSION} {origin[name]} [amd64])" for name in fresh]
            if "--download-only" not in argv:
                self.installed |= dict.fromkeys(fresh, VERSION)
        if "purge" in argv:
            for name in argv[argv.index("purge") + 1 :]:
                self.installed.pop(name, None)
        return []

    def services(self):
        return set(self.installed) & set(nvidia_packages.SERVICES)

    def driver(self):
        return bool(self.installed)


@pytest.fixture
def host(tmp_path, tmp_path_factory, monkeypatch):
    made = Host(tmp_path_factory.mktemp("dpkg") / "status")
    made.behind(monkeypatch)
    monkeypatch.setattr(nvidia_packages, "DPKG_STATUS", str(made.status))
    monkeypatch.setattr(nvidia_work, "os_release", lambda text: {"ID": "debian", "VERSION_ID": "12"})
    monkeypatch.setattr(nvidia_packages, "KEYRINGS", {"debian": f"{tmp_path}/key"})
    monkeypatch.setattr(nvidia_files, "PLACES", (f"{tmp_path}/source", f"{tmp_path}/pin"))
    monkeypatch.setattr(nvidia_files, "NOUVEAU_PATH", f"{tmp_path}/nouveau")
    monkeypatch.setattr(nvidia, "PROFILE", f"{tmp_path}/profile")
    return made


def spec(folder, **changes):
    files = [
        {"path": f"{folder}/{name}", "data": base64.b64encode(name.encode()).decode()}
        for name in ("key", "source", "pin", "nouveau")
    ]
    order = {"family": "debian", "packages": WANTED, "files": files, "driver_version": "", "services": [], "hold": []}
    order |= {"branch": "580", "remove": []}
    return {**order, "source": f"{folder}/source", "hold_new": True, "state_dir": str(folder / "state"), **changes}


def run(order):
    return nvidia_work.work(order, Progress())


def assert_converged(host, folder):
    assert set(host.installed) == set(WANTED)
    assert host.held == {"nvidia-open", "nvidia-persistenced", "nvidia-fabricmanager"}
    assert host.active == {"nvidia-persistenced", "nvidia-fabricmanager"}
    assert sorted(path.name for path in folder.iterdir()) == ["key", "nouveau", "pin", "source", "state"]
    record = json.loads((folder / "state" / nvidia.RECORD).read_text())
    assert (record["packages"], record["others"]) == (sorted(set(WANTED[1:])), WANTED[:1])


def test_from_nothing_to_packages_that_are_held_and_services_that_run(host, tmp_path):
    assert run(spec(tmp_path))["installed"] == WANTED[1:]
    assert_converged(host, tmp_path)
    words = [" ".join(call) for call in host.calls]
    steps = [
        "configure",
        "error-on=any",
        "simulate",
        "download-only",
        "update-initramfs -u",
        "modprobe nvidia",
        "mark hold",
    ]
    places = [next(number for number, text in enumerate(words) if step in text) for step in steps]
    assert places == sorted(places)
    fabric = f"nvidia-fabricmanager={VERSION}"
    assert fabric in words[places[2]], "the driver's version, not the newest"
    assert words[places[3] + 1].endswith(fabric)
    assert "download" not in words[places[3] + 1], "the installation follows the whole download"


def test_our_source_is_asked_strictly_and_before_all_others(host, tmp_path):
    run(spec(tmp_path))
    updates = [call for call in host.calls if "update" in call]
    assert "--error-on=any" in updates[0]
    assert f"Dir::Etc::sourcelist={tmp_path}/source" in updates[0]
    assert "--error-on=any" not in updates[1]


TROUBLES = {
    "a wrong signature": (
        "--error-on=any",
        "E: The repository 'file:/srv InRelease' is not signed.",
        "nvidia_repository_fingerprint",
    ),
    "a rotated key": ("--error-on=any", "W: GPG error: … NO_PUBKEY A4B469963BF863CC", "nvidia_repository_fingerprint"),
    "a mirror in the middle of an update": (
        "--error-on=any",
        "E: Failed to fetch … Hash Sum mismatch",
        "nvidia_repository_url",
    ),
    "no way to the mirror": ("--error-on=any", "E: Could not connect to 127.0.0.1:9", "nvidia_repository_url"),
    "headers that are no longer served": (
        "--simulate",
        "E: Unable to locate package linux-headers-6.1.0-x",
        "nvidia_gpu_expected",
    ),
    "a toolkit that is not there": (
        "--simulate",
        "E: Unable to locate package cuda-toolkit-12-5",
        "nvidia_cuda_version",
    ),
    "a driver that is not there": (
        "--simulate",
        "E: Package 'nvidia-open' has no installation candidate",
        "nvidia_driver",
    ),
    "two sources for one address": (
        "--simulate",
        "E: Conflicting values set for option Signed-By regarding source https://x/ /: /a.gpg != /b.gpg",
        "nvidia_repository_url",
    ),
}


@pytest.mark.parametrize(("word", "said", "variable"), TROUBLES.values(), ids=TROUBLES)
def test_what_can_not_be_had_leaves_nothing_behind(host, tmp_path, word, said, variable):
    host.breaks = {word: said}
    with pytest.raises(FleetError) as caught:
        run(spec(tmp_path))
    assert caught.value.variable.startswith(variable)
    assert caught.value.found == said
    assert "nothing was" in caught.value.message
    assert caught.value.remedy
    assert (host.installed, list(tmp_path.iterdir())) == ({}, [])
    host.breaks = {}
    run(spec(tmp_path))
    assert_converged(host, tmp_path)


def test_a_source_that_worked_before_comes_back_when_the_new_one_does_not(host, tmp_path):
    run(spec(tmp_path))
    host.breaks = {"--error-on=any": "E: Could not connect"}
    (tmp_path / "source").write_text("the one before")
    with pytest.raises(FleetError):
        run(spec(tmp_path, packages=["cuda-toolkit-12-9"]))
    assert (tmp_path / "source").read_text() == "the one before"


def test_the_distribution_s_own_trouble_is_not_ours(host, tmp_path):
    def broken(argv):
        theirs = "update" in argv and "--error-on=any" not in argv
        return "E: The list of sources could not be read." if theirs else ""

    host.refusal = broken
    run(spec(tmp_path))
    assert_converged(host, tmp_path)


def test_fabric_manager_of_the_driver_s_version_or_none(host, tmp_path):
    host.fabric = ["580.173.02-1"]
    with pytest.raises(FleetError, match="exact version") as caught:
        run(spec(tmp_path))
    assert caught.value.expected == "nvidia-fabricmanager 580.159.04"
    assert host.installed == {}


def test_a_branch_that_is_not_served_is_refused_and_not_taken_from_another(host, tmp_path):
    host.candidate, host.versions = "610.43.02-1", ["610.43.02-1", "590.48.01-1", "590.44.01-1"]
    with pytest.raises(FleetError, match="nothing was installed") as caught:
        run(spec(tmp_path))
    assert caught.value.variable == "nvidia_driver_branch"
    assert caught.value.found == "nvidia-open of branch 590, 610"
    assert caught.value.expected == "nvidia-open of branch 580"
    assert (host.installed, list(tmp_path.iterdir())) == ({}, [])


def test_a_driver_that_apt_does_not_know_at_all_is_told_by_apt(host, tmp_path):
    host.candidate, host.breaks = "(none)", {"--simulate": "E: Unable to locate package nvidia-open"}
    with pytest.raises(FleetError, match="Unable to locate"):
        run(spec(tmp_path, packages=WANTED[:2]))


@pytest.mark.parametrize(
    ("packages", "refused"),
    [
        (WANTED, True),
        (["nvidia-fabricmanager"], True),
        (["@nvidia-driver:580-open"], True),
        (["cuda-toolkit-12-6"], False),
        ([], False),
    ],
    ids=["a driver", "fabric manager", "EL's", "a toolkit alone", "nothing"],
)
def test_no_driver_is_exchanged_under_a_running_training(host, tmp_path, packages, refused):
    host.trainings = ["canvas-training-atlas.service"]
    order = spec(tmp_path, packages=packages, driver_version="580.159.04", remove=[f"{tmp_path}/other"])
    (tmp_path / "other").write_text("x")
    if not refused:
        run(order)
        assert not (tmp_path / "other").exists()
        return
    with pytest.raises(FleetError, match="is not replaced") as caught:
        run(order)
    assert "stop.yml" in caught.value.remedy
    assert (host.calls, [path.name for path in tmp_path.iterdir()]) == ([], ["other"])


def test_our_source_is_removed_before_apt_is_asked(host, tmp_path):
    ours = tmp_path / "ours"
    ours.write_text("x")
    host.refusal = lambda argv: "two sources for one address" if ours.exists() else ""
    order = spec(tmp_path, files=[], remove=[str(ours)], source="/etc/apt/sources.list.d/cuda.list")
    assert nvidia_work.preview(order)[0] == f"remove {ours}"
    run(order)
    assert "nvidia-open" in host.installed


@pytest.mark.parametrize(
    "configure",
    [nvidia_apt.configure, packages.configure],
    ids=["for the driver", "for the agent's packages"],
)
def test_dpkg_s_lock_is_waited_for(host, configure):
    texts = (
        "frontend lock was locked by another process with pid 7",
        "database lock was locked by /usr/bin/apt process",
    )
    said, slept = [f"dpkg: error: dpkg {text}" for text in texts], []
    host.refusal = lambda argv: said.pop() if said else ""
    configure(slept.append)
    assert slept == [5.0] * 2
    assert set(host.calls) == {("dpkg", "--configure", "-a")}
    said.append("dpkg: error processing package nvidia-dkms")
    with pytest.raises(FleetError, match="processing"):
        configure(slept.append)


def test_the_lock_of_the_lists_is_waited_for_and_not_for_ever(host):
    said, slept = ["E: Could not get lock /var/lib/apt/lists/lock"] * 3, []
    host.refusal = lambda argv: said.pop() if said else ""
    nvidia_apt.update("x", (), slept.append)
    assert len(slept) == 3
    said.extend(["E: Could not get lock /var/lib/apt/lists/lock"] * 1000)
    with pytest.raises(FleetError):
        nvidia_apt.update("x", (), slept.append)
    assert sum(slept[3:]) == packages.LOCK_TIMEOUT


def test_a_cut_at_any_call_converges_on_the_next_run(host, tmp_path):
    run(spec(tmp_path))
    number = len(host.calls)
    assert number > 10
    for die_at in range(1, number + 1):
        host.__init__(host.status)
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()
        host.die_at = die_at
        with pytest.raises(KilledError):
            run(spec(tmp_path))
        host.die_at = 0
        again = spec(tmp_path)
        if host.installed:  # what the next plan asks for, once the driver is there
            loose = [name for name, package in nvidia_packages.installed().items() if not package.held]
            idle = [name for name, state in nvidia_packages.services().items() if state != "active"]
            again = spec(tmp_path, packages=[], hold=loose, services=idle)
        run(again)
        assert_converged(host, tmp_path)


def test_holds_and_services_alone_touch_no_package(host, tmp_path):
    host.installed = {"nvidia-open": VERSION, "nvidia-persistenced": VERSION}
    run(spec(tmp_path, packages=[], files=[], hold=["nvidia-open"], services=["nvidia-persistenced"]))
    assert [call[0] for call in host.calls] == ["apt-mark", "systemctl"]


def test_all_of_it_is_taken_back_and_what_the_distribution_brought_is_left_to_it(host, tmp_path):
    run(spec(tmp_path))
    host.installed["htop"] = "1"
    told = nvidia_work.preview({"absent": True, "state_dir": str(tmp_path / "state")})
    assert told[-1] == "remove nvidia-fabricmanager, nvidia-open, nvidia-persistenced"
    result = run({"absent": True, "state_dir": str(tmp_path / "state")})
    assert result["done"] == told
    assert set(host.installed) == {"htop", "linux-headers-6.1.0-x"}
    assert ("apt-mark", "auto", "linux-headers-6.1.0-x") in host.calls
    assert host.held == set()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not run({"absent": True, "state_dir": str(tmp_path / "state")})["changed"]


def test_nothing_is_taken_from_under_a_running_training(host, tmp_path):
    run(spec(tmp_path))
    host.trainings = ["canvas-training-atlas.service"]
    with pytest.raises(FleetError, match="a training runs"):
        run({"absent": True, "state_dir": str(tmp_path / "state")})
    assert_converged(host, tmp_path)


def test_a_driver_that_was_here_before_us_stays(host, tmp_path):
    host.installed = {"nvidia-open": VERSION}
    run({"absent": True, "state_dir": str(tmp_path / "state")})
    assert host.installed == {"nvidia-open": VERSION}


def test_what_a_dry_run_tells():
    order = spec(Path("/nowhere"), hold=["nvidia-open"], services=["nvidia-persistenced"])
    assert nvidia_work.preview(order) == [
        f"install {', '.join(WANTED)}",
        "hold nvidia-open",
        "start nvidia-persistenced",
    ]
