"""dnf's part of work(), against a host whose dnf is a table; a real dnf runs in molecule/nvidia_el."""

import base64
import json
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import dnf as nvidia_dnf
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import files as nvidia_files
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import observe as nvidia
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import packages as nvidia_packages
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import work as nvidia_work

from tests.unit.support.fake_host import FakeHost, KilledError

MODULE = "@nvidia-driver:580-open"
WANTED = ["kernel-devel-5.14", MODULE, "cuda-toolkit-12-6"]
# What each asked name brings: package, repository.
BRINGS = {
    "kernel-devel-5.14": [("kernel-devel", "appstream")],
    MODULE: [("nvidia-driver", "ours"), ("kmod-nvidia-open-dkms", "ours"), ("dkms", "epel")],
    "cuda-toolkit-12-6": [("cuda-toolkit-12-6", "ours")],
    nvidia_dnf.PLUGIN: [(nvidia_dnf.PLUGIN, "baseos")],
}


class Host(FakeHost):
    """What rpm and dnf would do; locks lie in the file that dnf's plugin keeps."""

    def __init__(self, locks, repository):
        super().__init__()
        self.installed, self.locks, self.repository = {"bash": "baseos"}, locks, repository
        self.lacks = {"apt-get"}

    def answer(self, argv):
        if argv[0] == "rpm":
            return list(self.installed)
        if "repoquery" in argv:
            return [f"{name} {repository}" for name, repository in self.installed.items()]
        if "add" in argv or "delete" in argv:
            entries = argv[argv.index("versionlock") + 2 :]
            kept = [line for line in self.locks.read_text().splitlines() if line not in entries]
            new = [f"# Added lock\n{name}-3:580.1-1.*" for name in entries] if "add" in argv else []
            self.locks.write_text("".join(f"{line}\n" for line in kept + new))
        elif "install" in argv and "--downloadonly" not in argv:
            for name in argv[argv.index("install") + 1 :]:
                for package, repository in BRINGS[name]:
                    self.installed.setdefault(package, self.repository if repository == "ours" else repository)
        elif "remove" in argv:
            for name in argv[argv.index("remove") + 1 :]:
                self.installed.pop(name, None)
        return []


@pytest.fixture
def host(tmp_path, monkeypatch):
    locks = tmp_path / "locks"
    locks.write_text("# by hand\nkernel-0:5.14-1.*\n")
    made = Host(locks, nvidia_packages.OWN)
    made.behind(monkeypatch)
    monkeypatch.setattr(nvidia_dnf, "LOCKS", str(locks))
    monkeypatch.setattr(nvidia_work, "os_release", lambda text: {"ID": "rocky", "VERSION_ID": "9.4"})
    return made


@pytest.fixture
def order(tmp_path, monkeypatch):
    source = tmp_path / f"{nvidia_packages.OWN}.repo"
    monkeypatch.setattr(nvidia_packages, "KEYRINGS", {"el": f"{tmp_path}/key"})
    monkeypatch.setattr(nvidia_files, "PLACES", (str(source),))
    monkeypatch.setattr(nvidia_files, "NOUVEAU_PATH", f"{tmp_path}/nouveau")
    monkeypatch.setattr(nvidia, "PROFILE", f"{tmp_path}/profile")
    return {
        "family": "el",
        "source": str(source),
        "branch": "580",
        "packages": WANTED,
        "remove": [],
        "files": [{"path": str(source), "data": base64.b64encode(b"[canvas-fleet-nvidia]\n").decode()}],
        "driver_version": "",
        "services": [],
        "hold": [],
        "hold_new": True,
        "state_dir": f"{tmp_path}/state",
    }


def run(spec):
    return nvidia_work.work(spec, Progress())


def record(order):
    return json.loads(Path(order["state_dir"], nvidia.RECORD).read_text())


def test_our_repository_is_asked_first_and_all_is_fetched_before_it_is_installed(host, order):
    result = run(order)
    words = [" ".join(call.split()[4:]) for call in host.words if "setopt" in call]
    assert words == [
        "--repo=canvas-fleet-nvidia makecache",
        f"install --downloadonly {' '.join(WANTED)} {nvidia_dnf.PLUGIN}",
        f"install {' '.join(WANTED)} {nvidia_dnf.PLUGIN}",
    ]
    assert result["installed"] == ["cuda-toolkit-12-6", "kmod-nvidia-open-dkms", "nvidia-driver"]
    assert record(order)["packages"] == result["installed"]


def test_a_stream_that_was_chosen_before_is_reset(host, order):
    run(order)
    reset = host.words.index("dnf -y module reset nvidia-driver")
    assert reset < next(n for n, call in enumerate(host.words) if "--downloadonly" in call)
    host.calls.clear()
    run({**order, "packages": ["cuda-toolkit-12-6"]})
    assert not any("module reset" in call for call in host.words)


def test_a_repository_of_the_user_s_goes_by_its_own_name(host, order, tmp_path):
    theirs = tmp_path / "cuda-rhel9.repo"
    theirs.write_text("[cuda-rhel9-x86_64]\nbaseurl=x\n")
    host.repository = "cuda-rhel9-x86_64"
    run({**order, "files": [], "source": str(theirs)})
    assert not any("--repo=" in call for call in host.words)
    assert record(order)["packages"] == ["cuda-toolkit-12-6", "kmod-nvidia-open-dkms", "nvidia-driver"]


def test_what_was_here_before_is_not_ours(host, order):
    host.installed |= dict.fromkeys(["cuda-toolkit-12-6", "nvidia-driver"], host.repository)
    run(order)
    assert record(order)["packages"] == ["kmod-nvidia-open-dkms"]


def test_a_repository_that_does_not_answer_leaves_no_source(host, order, tmp_path):
    host.breaks = {"makecache": "Error:\nFailed to download metadata for repo 'canvas-fleet-nvidia'"}
    with pytest.raises(FleetError, match="nothing was installed") as caught:
        run(order)
    assert caught.value.variable == "nvidia_repository_url"
    assert [path.name for path in tmp_path.iterdir()] == ["locks"]


def test_dkms_that_no_repository_has_is_named_with_its_repository(host, order):
    host.breaks = {
        "--downloadonly": "Error: \n Problem: cannot install the best candidate for the job\n"
        "  - nothing provides dkms needed by kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch\n"
        "(try to add '--skip-broken' to skip uninstallable packages)"
    }
    with pytest.raises(FleetError, match="nothing provides dkms needed by kmod") as caught:
        run(order)
    assert "EPEL" in caught.value.remedy


def test_locks_of_ours_are_taken_off_for_our_work_and_a_user_s_stay(host, order):
    run(order)
    ours = ["kmod-nvidia-open-dkms-3:580.1-1.*", "nvidia-driver-3:580.1-1.*"]
    assert nvidia_dnf.locks() == ["kernel-0:5.14-1.*", *ours]
    assert record(order)["locks"] == ours
    host.calls.clear()
    run({**order, "packages": [MODULE]})
    deleted = host.words.index(f"dnf -y versionlock delete {' '.join(ours)}")
    assert deleted < next(n for n, call in enumerate(host.words) if " install " in call)
    assert nvidia_dnf.locks() == ["kernel-0:5.14-1.*", *ours]
    run({"absent": True, "state_dir": order["state_dir"]})
    assert nvidia_dnf.locks() == ["kernel-0:5.14-1.*"]
    assert set(host.installed) == {"bash", "kernel-devel", "dkms", nvidia_dnf.PLUGIN}


@pytest.mark.parametrize("packages", [[MODULE], ["cuda-toolkit-12-6"]], ids=["another driver", "a toolkit alone"])
def test_a_driver_stays_locked_when_nothing_could_be_installed(host, order, packages):
    run(order)
    locked = nvidia_dnf.locks()
    host.breaks = {"--downloadonly": "Error:\nGPG check FAILED"}
    with pytest.raises(FleetError, match="nothing was installed"):
        run({**order, "packages": packages})
    assert nvidia_dnf.locks() == locked


def test_a_cut_at_any_call_leaves_a_record_of_what_came(host, order, tmp_path):
    run(order)
    for die_at in range(1, len(host.calls) + 1):
        host.__init__(host.locks, nvidia_packages.OWN)
        host.locks.write_text("")
        (tmp_path / "state" / nvidia.RECORD).unlink(missing_ok=True)
        host.die_at = die_at
        with pytest.raises(KilledError):
            run(order)
        if "nvidia-driver" in host.installed:
            assert record(order)["packages"]


ASKED = {
    "nothing was here": (set(), [MODULE, "cuda-toolkit-12-6", "nvidia-fabricmanager-580.*"]),
    "a driver was": ({"kmod-nvidia-open-dkms"}, ["cuda-toolkit-12-6", "nvidia-fabricmanager-580.*"]),
    "a toolkit was": ({"cuda-toolkit-12-6"}, [MODULE, "nvidia-fabricmanager-580.*"]),
    "another toolkit was": ({"cuda-toolkit-12"}, [MODULE, "cuda-toolkit-12-6", "nvidia-fabricmanager-580.*"]),
    "fabric manager was": ({"nvidia-fabricmanager"}, [MODULE, "cuda-toolkit-12-6"]),
}


@pytest.mark.parametrize(("before", "new"), ASKED.values(), ids=ASKED)
def test_which_of_the_asked_names_are_new(before, new):
    assert nvidia_dnf.new([*WANTED, "nvidia-fabricmanager-580.*"], before) == new
