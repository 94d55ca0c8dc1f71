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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress
from ...system import files, packages, programs
from ...system import folders as folders_door
from ...system.ownership import Owner
from . import decide, observe

TRUST = {
    "/usr/local/share/ca-certificates": ("update-ca-certificates",),
    "/etc/pki/ca-trust/source/anchors": ("update-ca-trust",),
}
STEPS = 5


def preview(spec: Any) -> list[str]:
    """What work() would do on this host; changes nothing."""
    seen = observe.observe(spec)
    changes = [] if seen.account else [f"make the account {spec['fleet_user']}"]
    changes += [f"make {path}" for path in folders(spec) if not os.path.isdir(path)]
    if untrusted(spec):
        changes.append("trust the certificates of fleet_ca_bundle")
    if seen.packages_missing:
        changes.append(f"install {', '.join(seen.packages_missing)}")
    flaw = decide.agent_flaw(seen.agent, spec["fleet_agent_packages"])
    return [*changes, f"make the agent environment ({flaw})"] if flaw else changes


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """`spec`: the variables that observe() reads, `ca_pem`, `python`, the pip sources. Returns changed and done."""
    changes = preview(spec)
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
        raise FleetError("the host still differs from its settings", found="; ".join(left))
    return {"changed": bool(changes), "done": changes}


def folders(spec: Any) -> list[str]:
    return [str(spec["fleet_state_dir"]), str(spec["fleet_root"])]


def make_account(spec: Any) -> None:
    user, group = str(spec["fleet_user"]), str(spec["fleet_group"])
    if not observe.group_exists(group):
        programs.must("groupadd", "--system", group)
    if not observe.account_exists(user):
        home = os.path.join(str(spec["fleet_root"]), "home")
        # A shell, so that the training script can be run by hand with sudo -u. No password, so no login.
        programs.must(
            "useradd", "--system", "--gid", group, "--no-create-home", "--home-dir", home, "--shell", "/bin/bash", user
        )


def make_folders(spec: Any) -> None:
    user, group = pwd.getpwnam(str(spec["fleet_user"])), grp.getgrnam(str(spec["fleet_group"]))
    state, root = Path(str(spec["fleet_state_dir"])), Path(str(spec["fleet_root"]))
    refuse_files(spec)
    folders_door.make(state)
    for path, mode in ((root, 0o755), (Path(user.pw_dir), 0o700)):
        # The home of an account that a user made is the user's own affair, and so is a folder that exists.
        if not path.exists() and (path == root or root in path.parents):
            folders_door.make(path, Owner(user.pw_uid, group.gr_gid), mode)


def refuse_files(spec: Any) -> None:
    for name in ("fleet_state_dir", "fleet_root"):
        path = str(spec[name])
        if os.path.lexists(path) and not os.path.isdir(path):
            raise FleetError(
                "a folder is needed here",
                variable=name,
                found=f"{path} is no folder",
                remedy="move the file away, or choose another folder",
            )


def untrusted(spec: Any) -> bool:
    return bool(observe.fingerprints(str(spec.get("ca_pem") or "")) - set(observe.trusted()))


def trust(spec: Any) -> None:
    """One file per certificate, as Debian's tool wants it."""
    if not untrusted(spec):
        return
    if packages.lacking(packages.manager(), ["ca-certificates"]):
        packages.install(["ca-certificates"], Progress())
    for place, command in TRUST.items():
        if os.path.isdir(place) or programs.find(command[0]):
            folders_door.make(place)
            bodies = observe.CERTIFICATE.findall(str(spec["ca_pem"]))
            for body in bodies:
                pem = f"-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"
                name = min(observe.fingerprints(pem))
                files.write(os.path.join(place, f"canvas-fleet-{name}.crt"), pem.encode())
            programs.must(*command)
            return
    raise FleetError("the host has no known certificate store", variable="fleet_ca_bundle")


def install_packages(spec: Any, progress: Progress) -> None:
    manager = packages.known_manager()
    missing = packages.lacking(manager, observe.wanted_packages(spec, manager))
    if missing:
        packages.install(missing, progress)


def make_agent(spec: Any, progress: Progress) -> None:
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
    folders_door.remove_tree(target)
    programs.must(str(spec["python"]), "-m", "venv", str(target), writes=str(target))
    fill(target, pins, spec, progress)
    files.point(link, str(target))
    for old in store.iterdir():  # the one before stays for work that still runs in it
        if str(old) not in (str(target), before):
            folders_door.remove_tree(old)


def fill(target: Path, pins: Sequence[str], spec: Any, progress: Progress) -> None:
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
        words = (*command, "--progress-bar=off", "--only-binary=:all:", *options, *pins)
        programs.must(*words, each=each, writes=str(target))
    except FleetError as error:
        raise FleetError(
            "pip could not install the agent's packages",
            variable="fleet_agent_packages",
            found=error.found,
            remedy="make sure that the host reaches its package index (fleet_pip_index_url, and fleet_ca_bundle "
            "behind a proxy that inspects TLS)",
        ) from None
    # As the account, who alone uses the environment: root runs no code of these packages.
    user = str(spec["fleet_user"])
    tried = "".join(f"import {name}\n" for name in observe.IMPORTS)
    programs.must(python, "-I", "-c", tried, env={"HOME": pwd.getpwnam(user).pw_dir}, user=user)


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
