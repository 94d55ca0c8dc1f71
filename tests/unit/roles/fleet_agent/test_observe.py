"""What a host lacks, and its installation, with real virtual environments of the system's Python."""

from __future__ import annotations

import grp
import os
import pwd
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import decide as fleet_agent_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import observe as fleet_agent
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import work as fleet_agent_work
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent.observe import (
    Agent,
    Folder,
    Observation,
)
from ansible_collections.canvas.fleet.plugins.module_utils.system import files, packages, programs
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS

SHAPE = Topology("r", ("a",), 0, 1, 1, "localhost", 29501)
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n"
SETTINGS = {
    "fleet_root": "/srv/blockmoving",
    "fleet_state_dir": "/var/lib/canvas-fleet",
    "fleet_user": "blockmoving",
    "fleet_group": "blockmoving",
    "fleet_ca_bundle": "",
    "fleet_readers": ["@login"],
    "fleet_agent_packages": ["huggingface_hub==2.4.0", "pillow"],
}
READY = Observation(
    account=True,
    uid=1000,
    home="/home/blockmoving",
    groups=("blockmoving", "video"),
    group=True,
    root=Folder("folder", "blockmoving"),
    manager="apt",
    agent=Agent(True, "3.11", {"huggingface-hub": "2.4.0", "pillow": "13.0.0"}),
)


def agent(**change: Any) -> dict[str, Any]:
    return {"agent": replace(READY.agent, **change)}


def test_a_ready_host_is_in_sync() -> None:
    plan = fleet_agent_plan.decide(READY, SETTINGS, SHAPE)
    assert (plan.in_sync, plan.findings, plan.summary) == (True, (), "agent environment with Python 3.11")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"account": False}, "there is no account blockmoving", id="no account"),
        pytest.param({"group": False}, "there is no group blockmoving", id="no group"),
        pytest.param(
            {"root": Folder("absent")},
            "/srv/blockmoving does not exist",
            id="no folder",
        ),
        pytest.param({"packages_missing": ("git", "x")}, "packages are missing: git, x", id="missing packages"),
        pytest.param(agent(exists=False, python=""), "the agent environment is missing", id="no agent"),
        pytest.param(agent(python=""), "the agent environment does not run", id="an agent of a Python that is gone"),
        pytest.param(
            agent(installed={"huggingface-hub": "2.3.0", "pillow": "1"}),
            "the agent environment has huggingface_hub 2.3.0 instead of 2.4.0",
            id="another version",
        ),
        pytest.param(
            agent(installed={"huggingface-hub": "2.4.0"}),
            "the agent environment has pillow absent",
            id="an unpinned package that is absent",
        ),
    ],
)
def test_each_lack_is_one_reason(change: dict[str, Any], reason: str) -> None:
    assert fleet_agent_plan.decide(replace(READY, **change), SETTINGS, SHAPE).reasons == (reason,)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"root": Folder("other")}, "PATH_IS_A_FILE", id="a file"),
        pytest.param({"root": Folder("folder", "zhang", writable=False)}, "FOLDER_NOT_OURS", id="another's"),
        pytest.param({"manager": ""}, "PACKAGE_MANAGER_UNKNOWN", id="neither apt nor dnf"),
        pytest.param({"uid": 0, "home": "/root"}, "ACCOUNT_OF_SYSTEM", id="root under another name"),
        pytest.param({"uid": 33, "home": "/var/www"}, "ACCOUNT_OF_SYSTEM", id="an account of the distribution"),
        pytest.param({"uid": 65534, "home": "/nonexistent"}, "ACCOUNT_OF_SYSTEM", id="nobody"),
        pytest.param({"groups": ("blockmoving", "docker")}, "ACCOUNT_LIKE_ROOT", id="a group as good as root"),
        pytest.param({"groups": ("shadow",)}, "ACCOUNT_LIKE_ROOT", id="a group that reads what root reads"),
        pytest.param({"groups": ("google-sudoers",)}, "ACCOUNT_LIKE_ROOT", id="a group of a cloud's own"),
        pytest.param({"open_ways": {"fleet_state_dir": "/srv"}}, "STATE_DIR_OPEN", id="records where others write"),
    ],
)
def test_what_stands_in_the_way_is_a_finding(change: dict[str, Any], code: str) -> None:
    assert [found.code for found in fleet_agent_plan.decide(replace(READY, **change), SETTINGS, SHAPE).findings] == [
        code
    ]


def test_an_account_of_the_system_that_we_made_may_train() -> None:
    ours = replace(READY, uid=998, home="/srv/blockmoving/home")
    assert fleet_agent_plan.decide(ours, SETTINGS, SHAPE).findings == ()
    assert fleet_agent_plan.decide(replace(READY, account=False, uid=-1), SETTINGS, SHAPE).findings == ()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("fleet_state_dir", "state"),
        *(("fleet_state_dir", f"state/{name}") for name in ("supervisor", "training", "work", "secrets", "wheelhouse")),
        ("fleet_agent_dir", "agent.d"),
        ("fleet_agent_dir", "agent.d/../.."),
        ("fleet_agent_base_python", "python"),
        ("fleet_agent_base_python", "bin/.."),
    ],
)
def test_what_root_believes_or_runs_lies_where_no_other_account_can_write(
    tmp_path: Path, variable: str, place: str
) -> None:
    """The agent's folder in the account's: root would run the account's python there. The state's folder that was the
    account's and is root's now: the account has made those in it before."""
    root = tmp_path / "root"
    settings = {
        **SETTINGS,
        "fleet_state_dir": str(root / "state"),
        "fleet_agent_dir": str(root / "agent"),
        "fleet_agent_base_python": str(root / "bin/python"),
    }
    for path in ("state/conda_env", "agent.d", "bin"):
        (root / path).mkdir(parents=True)
    (root / "python").touch()
    (root / "bin/python").symlink_to("../python")
    os.chown(root / "state/conda_env", 12345, 12345)  # the account's by right
    assert fleet_agent.open_ways(settings) == {}
    if not (root / place).exists():
        (root / place).mkdir()
    os.chown(root / place, 12345, 12345)
    assert variable in fleet_agent.open_ways(settings)


def test_the_account_is_seen_with_all_its_groups() -> None:
    me = pwd.getpwuid(os.getuid())
    found = fleet_agent.account(me.pw_name)
    assert (found["account"], found["uid"], found["home"]) == (True, me.pw_uid, me.pw_dir)
    assert grp.getgrgid(me.pw_gid).gr_name in found["groups"]
    assert fleet_agent.account("nobody-of-this-name") == {}


def test_a_certificate_is_known_by_its_body_whatever_its_line_breaks(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text(PEM)
    settings = {**SETTINGS, "fleet_ca_bundle": str(bundle)}
    assert fleet_agent_plan.decide(READY, settings, SHAPE).reasons == (
        "the host does not trust the certificates of fleet_ca_bundle",
    )
    trusted = sorted(fleet_agent.fingerprints(PEM.replace("MIIB\n", "MIIB")))
    assert fleet_agent_plan.decide(replace(READY, trusted=tuple(trusted)), settings, SHAPE).in_sync


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_bundle_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    plan = fleet_agent_plan.decide(READY, {**SETTINGS, "fleet_ca_bundle": str(bundle)}, SHAPE)
    assert [(found.code, found.variable) for found in plan.findings] == [("VARIABLE_INVALID", "fleet_ca_bundle")]


@pytest.mark.parametrize(
    ("python", "expected"),
    [("3.9", "0.36.2"), ("3.10", "2.4.0"), ("3.13", "2.4.0")],
    ids=["EL 9", "Ubuntu 22.04", "Debian 13"],
)
def test_each_python_has_the_pin_that_it_can_have(python: str, expected: str) -> None:
    pins = ['huggingface_hub==2.4.0; python_version >= "3.10"', "huggingface_hub==0.36.2; python_version < '3.10'"]
    assert fleet_agent_plan.parse_pins(pins, python) == [("huggingface_hub", expected)]


@pytest.mark.parametrize(
    ("index", "links", "expected"),
    [
        ("", "", []),
        ("https://a/simple", "", ["--index-url", "https://a/simple"]),
        ("http://u:p@a:8/simple", "", ["--index-url", "http://u:p@a:8/simple", "--trusted-host", "a:8"]),
        ("", "/opt/w", ["--find-links", "/opt/w"]),
        ("", "http://b/w/", ["--trusted-host", "b", "--find-links", "http://b/w/"]),
    ],
    ids=["pip's own", "with TLS", "without TLS", "a folder", "links without TLS"],
)
def test_an_index_without_tls_is_trusted_by_name(index: str, links: str, expected: list[str]) -> None:
    assert fleet_agent_work.pip_options(index, links) == expected


def test_apts_own_status_becomes_progress() -> None:
    told: list[tuple[Any, ...]] = []

    class Told(Progress):
        def __call__(self, *arguments: Any) -> None:
            told.append(arguments)

    for line in ("dlstatus:1:50.0:Retrieving", "pmstatus:git:100.0:Installed git", "Get:1 http", "pmstatus:"):
        packages.tell(line, Told())
    assert told == [(25, 100, "%", "system packages"), (100, 100, "%", "system packages")]


@pytest.mark.parametrize(
    ("manager", "compiler", "build", "names"),
    [
        pytest.param("apt", False, "wheel", ["git"], id="nothing compiles"),
        pytest.param("apt", True, "wheel", ["git", "gcc", "libc6-dev"], id="flex attention, Debian"),
        pytest.param("dnf", True, "none", ["git", "gcc", "glibc-devel"], id="flex attention, EL"),
        pytest.param("apt", False, "source", ["git", "gcc", "libc6-dev", "g++"], id="flash-attn is built, Debian"),
        pytest.param("dnf", True, "source", ["git", "gcc", "glibc-devel", "gcc-c++"], id="both, EL"),
    ],
)
def test_the_compilers_come_with_the_system_packages(
    manager: str, compiler: bool, build: str, names: list[str]
) -> None:
    lists = {"fleet_agent_apt_packages": ["git"], "fleet_agent_dnf_packages": ["git"]}
    steered = {"fleet_agent_compiler": compiler, "conda_env_flash_attn_from": build}
    assert fleet_agent.wanted_packages({**lists, **steered}, manager) == names


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(fleet_agent, "IMPORTS", ("pip",))
    monkeypatch.setattr(fleet_agent_work, "install_packages", lambda spec, progress: None)
    return {
        "fleet_root": str(tmp_path / "srv"),
        "fleet_user": me.pw_name,
        "fleet_group": me.pw_name,
        "fleet_readers": [],
        "fleet_state_dir": str(tmp_path / "state"),
        "fleet_agent_dir": str(tmp_path / "state" / "agent"),
        "fleet_agent_base_python": "/usr/bin/python3",
        "fleet_agent_packages": ["pip"],
        "fleet_agent_apt_packages": [],
        "fleet_agent_dnf_packages": [],
        "fleet_agent_compiler": False,
        "conda_env_flash_attn_from": "wheel",
        "python": sys.executable,
    }


def test_the_agent_is_made_and_the_second_run_does_nothing(spec: dict[str, Any]) -> None:
    assert fleet_agent_work.work(spec, Progress())["changed"] is True
    assert Path(spec["fleet_agent_dir"]).is_symlink()
    assert fleet_agent_work.work(spec, Progress()) == {"changed": False, "done": []}


@pytest.mark.parametrize(
    ("door", "moment"),
    [(programs, "must"), (fleet_agent_work, "fill"), (files, "point")],
    ids=["venv", "fill", "switch"],
)
def test_a_cut_leaves_the_agent_that_worked(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, door: Any, moment: str
) -> None:
    fleet_agent_work.work(spec, Progress())
    before = os.path.realpath(spec["fleet_agent_dir"])
    # The same pins, so that the new environment wants the very name of the one that works.
    monkeypatch.setattr(fleet_agent_plan, "agent_flaw", lambda seen, pins: "a flaw")

    def cut(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cutting:
        cutting.setattr(door, moment, cut)
        with pytest.raises(KeyboardInterrupt):
            fleet_agent_work.make_agent(spec, Progress())
    assert os.path.realpath(spec["fleet_agent_dir"]) == before
    assert fleet_agent.agent(spec["fleet_agent_dir"]).python
    fleet_agent_work.make_agent(spec, Progress())
    assert os.path.realpath(spec["fleet_agent_dir"]) != before
    assert fleet_agent.agent(spec["fleet_agent_dir"]).python


def test_an_agent_that_broke_is_made_again(spec: dict[str, Any]) -> None:
    fleet_agent_work.work(spec, Progress())
    python = Path(spec["fleet_agent_dir"]) / "bin" / "python"
    python.unlink()
    assert "does not run" in fleet_agent_work.preview(spec)[0]
    assert fleet_agent_work.work(spec, Progress())["changed"] is True
    assert fleet_agent_work.preview(spec) == []


def test_root_runs_nothing_of_the_agents_packages(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A .pth file of a package runs whenever the environment's Python starts, with -I too."""
    fleet_agent_work.work(spec, Progress())
    (packages,) = Path(spec["fleet_agent_dir"]).resolve().glob("lib/python3*/site-packages")
    ran = Path(spec["fleet_root"]) / "ran"
    (packages / "evil.pth").write_text(f"import os; open({str(ran)!r}, 'a').write(str(os.geteuid()))\n")
    found = fleet_agent.agent(spec["fleet_agent_dir"])
    assert (found.python, "pip" in found.installed) == (f"{sys.version_info[0]}.{sys.version_info[1]}", True)
    assert fleet_agent_work.preview(spec) == []
    assert not ran.exists()
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(programs, "must", lambda *argv, **how: asked.append((argv[1], how.get("user", ""))))
    fleet_agent_work.fill(packages.parents[2], ["pip"], spec, Progress())
    assert asked == [("-m", ""), ("-I", spec["fleet_user"])], "pip installs wheels alone, and runs none of their code"


def test_an_agent_of_a_python_that_is_gone_does_not_run(spec: dict[str, Any]) -> None:
    fleet_agent_work.work(spec, Progress())
    config = Path(spec["fleet_agent_dir"]) / "pyvenv.cfg"
    for text in ("version = 3.6.1\n", "version = 2\n", ""):
        config.write_text(text)
        assert fleet_agent.agent(spec["fleet_agent_dir"]).python == ""


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if job.python == "fleet_agent_python"])
def test_work_in_the_agents_environment_is_the_accounts(name: str) -> None:
    assert JOBS[name].user == "fleet_user"


def test_a_folder_that_a_user_made_keeps_owner_and_mode(spec: dict[str, Any]) -> None:
    root = Path(spec["fleet_root"])
    root.mkdir(mode=0o711)
    (root / "mine").write_text("x")
    fleet_agent_work.make_folders(spec)
    assert (root.stat().st_mode & 0o777, (root / "mine").read_text()) == (0o711, "x")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_home_is_for_the_account_alone_and_the_root_open_to_readers(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    root = Path(spec["fleet_root"])
    me = [*pwd.getpwuid(os.getuid())]
    monkeypatch.setattr(pwd, "getpwnam", lambda name: pwd.struct_passwd([*me[:5], str(root / "home"), me[6]]))
    before = os.umask(umask)
    try:
        fleet_agent_work.make_folders(spec)
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o7777) for path in (root, root / "home")] == ["0o755", "0o700"]


@pytest.mark.parametrize("name", ["fleet_root", "fleet_state_dir"])
def test_a_file_where_a_folder_is_needed_is_refused(spec: dict[str, Any], name: str) -> None:
    Path(spec[name]).write_text("mine")
    with pytest.raises(FleetError) as refused:
        fleet_agent_work.work(spec, Progress())
    assert refused.value.variable == name
    assert Path(spec[name]).read_text() == "mine"


def test_a_users_folder_at_the_agents_place_is_refused(spec: dict[str, Any]) -> None:
    Path(spec["fleet_agent_dir"]).mkdir(parents=True)
    with pytest.raises(FleetError, match="not made by canvas-fleet"):
        fleet_agent_work.work(spec, Progress())


def test_a_program_that_fails_says_its_last_words() -> None:
    with pytest.raises(FleetError, match="E: no such package"):
        programs.must("sh", "-c", "echo a; echo 'E: no such package'; exit 100")
