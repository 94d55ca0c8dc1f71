"""Makes a bare host ready: account, folders, certificates, system packages, agent environment.

Runs as root under the system's Python, before anything of ours is installed. Accounts and folders are made where they
are absent and never altered where a user has made them. The builtin modules would not serve here: apt's check mode
fails on a host without python3-apt, and user's and file's would change the home and the owner of what exists.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress
from . import decide, observe

TRUST = {
    "/usr/local/share/ca-certificates": ("update-ca-certificates",),
    "/etc/pki/ca-trust/source/anchors": ("update-ca-trust",),
}
STEPS = 5
PATIENCE = 300.0  # seconds for another package manager; a fresh server updates itself in its first minutes
LISTS_LOCKED = "lists/lock"  # DPkg::Lock::Timeout does not cover it
DPKG_LOCKED = "lock was locked by "  # and by whom; Debian 13 names the program


def preview(spec: Mapping[str, Any]) -> list[str]:
    """What work() would do on this host; reads only."""
    seen = observe.observe(spec)
    told = [] if seen.account else [f"make the account {spec['fleet_user']}"]
    told += [f"make {path}" for path in folders(spec) if not os.path.isdir(path)]
    if untrusted(spec):
        told.append("trust the certificates of fleet_ca_bundle")
    if seen.packages_missing:
        told.append(f"install {', '.join(seen.packages_missing)}")
    flaw = decide.agent_flaw(seen.agent, spec["fleet_agent_packages"])
    return [*told, f"make the agent environment ({flaw})"] if flaw else told


def work(spec: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """`spec`: the variables that observe() reads, `ca_pem`, `python`, the pip sources. Returns changed and done."""
    told = preview(spec)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("account", lambda: make_account(spec)),
        ("folders", lambda: make_folders(spec)),
        ("certificates", lambda: trust(spec)),
        ("packages", lambda: install_packages(spec, progress)),
        ("agent environment", lambda: make_agent(spec, progress)),
    ]
    for number, (name, step) in enumerate(steps):
        progress(number, STEPS, "steps", name)
        step()
    left = preview(spec)
    if left:
        raise FleetError("the host is not as wanted after all was done", found="; ".join(left))
    return {"changed": bool(told), "done": told}


def folders(spec: Mapping[str, Any]) -> list[str]:
    return [str(spec["fleet_state_dir"]), str(spec["fleet_root"])]


def make_account(spec: Mapping[str, Any]) -> None:
    user, group = str(spec["fleet_user"]), str(spec["fleet_group"])
    if not observe.group_exists(group):
        run("groupadd", "--system", group)
    if not observe.account_exists(user):
        home = os.path.join(str(spec["fleet_root"]), "home")
        # A shell, so that the training script can be run by hand with sudo -u; no password, so nobody logs in.
        run("useradd", "--system", "--gid", group, "--no-create-home", "--home-dir", home, "--shell", "/bin/bash", user)


def make_folders(spec: Mapping[str, Any]) -> None:
    user, group = pwd.getpwnam(str(spec["fleet_user"])), grp.getgrnam(str(spec["fleet_group"]))
    state, root = Path(str(spec["fleet_state_dir"])), Path(str(spec["fleet_root"]))
    refuse_files(spec)
    state.mkdir(parents=True, exist_ok=True)
    for path, mode in ((root, 0o755), (Path(user.pw_dir), 0o700)):
        # The home of an account that a user made is the user's own affair, and so is a folder that exists.
        if not path.exists() and (path == root or root in path.parents):
            aside = path.with_name(f".{path.name}.new")
            aside.mkdir(parents=True, exist_ok=True)
            os.chown(aside, user.pw_uid, group.gr_gid)
            aside.chmod(mode)
            os.rename(aside, path)


def refuse_files(spec: Mapping[str, Any]) -> None:
    for name in ("fleet_state_dir", "fleet_root"):
        path = str(spec[name])
        if os.path.lexists(path) and not os.path.isdir(path):
            raise FleetError(
                "a folder is needed here",
                variable=name,
                found=f"{path} is no folder",
                remedy="move the file away, or choose another folder",
            )


def untrusted(spec: Mapping[str, Any]) -> bool:
    return bool(observe.fingerprints(str(spec.get("ca_pem") or "")) - set(observe.trusted()))


def trust(spec: Mapping[str, Any]) -> None:
    """One file per certificate, as Debian's tool wants it."""
    if not untrusted(spec):
        return
    if observe.missing_packages(observe.package_manager(), ["ca-certificates"]):
        install(observe.package_manager(), ["ca-certificates"], Progress())
    for place, command in TRUST.items():
        if os.path.isdir(place) or shutil.which(command[0]):
            os.makedirs(place, exist_ok=True)
            bodies = observe.CERTIFICATE.findall(str(spec["ca_pem"]))
            for body in bodies:
                pem = f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"
                name = min(observe.fingerprints(pem))
                Path(place, f"canvas-fleet-{name}.crt").write_text(pem)
            run(*command)
            return
    raise FleetError("this host has no store of certificates that is known here", variable="fleet_ca_bundle")


def install_packages(spec: Mapping[str, Any], progress: Progress) -> None:
    manager = observe.package_manager()
    if not manager:
        raise FleetError("no package manager that is known here", found="neither apt-get nor dnf")
    missing = observe.missing_packages(manager, spec[f"fleet_agent_{manager}_packages"])
    if missing:
        install(manager, missing, progress)


def install(manager: str, names: Sequence[str], progress: Progress) -> None:
    if manager == "dnf":
        run("dnf", "-y", "--setopt=install_weak_deps=False", "install", *names)
        return
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    configure()
    wait = ("-o", f"DPkg::Lock::Timeout={PATIENCE:.0f}", "-o", "APT::Status-Fd=1")
    retry_connection(lambda: run("apt-get", *wait[:2], "-q", "update"), LISTS_LOCKED)
    command = ("apt-get", *wait, "-q", "-y", "--no-install-recommends", "install", *names)
    run(*command, each_line=lambda line: apt_status(line, progress))


def configure(sleep: Callable[[float], None] = time.sleep) -> None:
    """Mends what a cut left half done; nothing otherwise."""
    retry_connection(lambda: run("dpkg", "--configure", "-a"), DPKG_LOCKED, sleep)


def retry_connection(step: Callable[[], object], locked: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """For programs that do not wait for a lock by themselves; `locked` is what they then say."""
    waited = 0.0
    while True:
        try:
            step()
            return
        except FleetError as error:
            if locked not in error.found or waited >= PATIENCE:
                raise
        sleep(5.0)
        waited += 5.0


def apt_status(line: str, progress: Progress) -> None:
    """dlstatus:<n>:<percent>:<text> and pmstatus:<package>:<percent>:<text>."""
    words = line.split(":", 3)
    if len(words) == 4 and words[0] in ("dlstatus", "pmstatus"):
        half = 0 if words[0] == "dlstatus" else 50
        progress(half + int(float(words[2])) // 2, 100, "%", "system packages")


def make_agent(spec: Mapping[str, Any], progress: Progress) -> None:
    link, pins = Path(str(spec["fleet_agent_dir"])), list(spec["fleet_agent_packages"])
    if not decide.agent_flaw(observe.agent(str(link)), pins):
        return
    if link.is_dir() and not link.is_symlink():
        raise FleetError(
            "this folder was not made by canvas-fleet",
            variable="fleet_agent_dir",
            found=f"{link} is a folder, not a link to an environment",
            remedy="move it away, or choose another fleet_agent_dir",
        )
    store = link.with_name(link.name + ".d")
    before = os.path.realpath(link)
    # The folder that the link names is never touched: it works until the new one does.
    names = (store / f"{observe.digest(pins)}-{letter}" for letter in "ab")
    target = next(path for path in names if str(path) != before)
    shutil.rmtree(target, ignore_errors=True)
    run(str(spec["python"]), "-m", "venv", str(target))
    fill(target, pins, spec, progress)
    switch(link, target)
    for old in store.iterdir():  # the one before stays for work that still runs in it
        if str(old) not in (str(target), before):
            shutil.rmtree(old, ignore_errors=True)


def fill(target: Path, pins: Sequence[str], spec: Mapping[str, Any], progress: Progress) -> None:
    python = str(target / "bin" / "python")
    count = [0]

    def each(line: str) -> None:
        found = re.match(r"\s*(?:Collecting|Downloading|Installing collected packages:) ([\w.\-]+)", line)
        if found:
            count[0] += line.lstrip().startswith("Collecting")
            progress(count[0], 0, "packages", found[1])

    options = pip_options(str(spec.get("index_url") or ""), str(spec.get("find_links") or ""))
    command = (python, "-m", "pip", "--no-input", "--disable-pip-version-check", "install")
    try:
        run(*command, "--progress-bar=off", "--only-binary=:all:", *options, *pins, each_line=each)
    except FleetError as error:
        raise FleetError(
            "pip could not install the agent's packages",
            variable="fleet_agent_packages",
            found=error.found,
            remedy="see that the host reaches its package index (fleet_pip_index_url, and fleet_ca_bundle behind a "
            "proxy that inspects TLS)",
        ) from None
    run(python, "-I", "-c", "".join(f"import {name}\n" for name in observe.IMPORTS))


def pip_options(index_url: str, find_links: str) -> list[str]:
    """An index without TLS is trusted by name, or pip refuses it."""
    options = ["--index-url", index_url] if index_url else []
    host = re.match(r"http://(?:[^@/]*@)?([^/]+)", index_url)
    if host:
        options += ["--trusted-host", host[1]]
    links = re.match(r"http://([^/]+)", find_links)
    if links:
        options += ["--trusted-host", links[1]]
    return [*options, "--find-links", find_links] if find_links else options


def switch(link: Path, target: Path) -> None:
    aside = link.with_name(link.name + ".new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    os.replace(aside, link)


def run(*argv: str, each_line: Callable[[str], None] | None = None) -> None:
    """Output goes into the work's log; raises FleetError with the last words of a program that failed."""
    print("+", " ".join(argv), flush=True)  # noqa: T201 - the log is this work's output
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise FleetError(f"{argv[0]} cannot be run", found=str(error)) from error
    last: list[str] = []
    assert process.stdout  # noqa: S101 - for the type checker; it was asked for
    for line in process.stdout:
        print(line, end="", flush=True)  # noqa: T201 - as above
        last = [*last[-30:], line.strip()]
        if each_line:
            each_line(line)
    if process.wait():
        errors = [line for line in last if line.startswith(("E:", "ERROR", "Error"))] or last[-3:]
        raise FleetError(f"{argv[0]} failed", found="; ".join(errors[-4:]))
