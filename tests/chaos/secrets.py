"""Canary secrets go through a whole converge of a real host; then they are looked for everywhere they must not be.

Two are accepted (the key of W&B, the hub's token) and reach their place. Four stand where a user might put them by
mistake; those are refused, and the refusal must not show them either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import ansible_runner
import yaml

from demo import bench, fleet, hosts
from demo.podman import CHECKOUT, STATE, podman

GROUP = hosts.Group(STATE / "chaos-secrets", "chaossec")
HOST = "vault"
MARK = "canary"
WANDB = f"{MARK}-wandb-0123456789abcdef0123456789abcdef"
MISPLACED = {
    "a password in the address of git": {"canvas_code_repo": f"https://me:{MARK}-git@git.invalid/x.git"},
    "a password in the address of the index": {"fleet_pip_index_url": f"https://me:{MARK}-pip@index.invalid/simple"},
    "a token in the trainer's environment": {"run_config_env": {"HF_TOKEN": f"{MARK}-environment"}},
    "a key among the flags": {"run_config_extra_flags": {"api_key": f"{MARK}-flag"}},
}


class Watch(threading.Thread):
    """Reads the arguments of every process of the host, ten times a second, as a curious neighbour could."""

    def __init__(self, container: str) -> None:
        super().__init__(daemon=True)
        self.container, self.seen, self.over = container, set[str](), False

    def run(self) -> None:
        look = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; echo; done 2>/dev/null"
        while not self.over:
            done = _inside(self.container, look)
            self.seen.update(done.splitlines())
            time.sleep(0.1)


def run(points: int, say: Callable[[str], None]) -> list[dict[str, object]]:
    depot = fleet.ensure_depot()
    hosts.down(GROUP)
    address = hosts.up(GROUP, [HOST])[HOST]
    folder = bench.inventory(GROUP, GROUP.state / "inventory", {HOST: address}, depot)
    token = str(depot["hub_token"])
    try:
        rows = [*_accepted(folder, token, depot, say), *_refused(folder, say)]
    finally:
        hosts.down(GROUP)
    return rows


def _accepted(
    folder: Path, token: str, depot: dict[str, object], say: Callable[[str], None]
) -> Iterator[dict[str, object]]:
    container = GROUP.container(HOST)
    secrets = {
        "weights_repo": depot["hub_gated_repo"],
        "weights_token": token,
        "run_config_enable_wandb": True,
        "run_config_wandb_api_key": WANDB,
    }
    (folder / "group_vars" / "all" / "secrets.yml").write_text(yaml.safe_dump(secrets))
    watch = Watch(container)
    watch.start()
    outputs = {name: _play(folder, *words) for name, words in {"-vvvv --diff": ["-vvvv", "--diff"]}.items()}
    watch.over = True
    outputs["the runner's artifacts"] = _runner(folder)
    outputs["facts that are cached"] = _cached(folder)
    outputs["arguments of all processes, 10 times a second"] = "\n".join(watch.seen)
    for place, command in ON_HOST.items():
        outputs[place] = _inside(container, command)
    for kind, secret in {"the key of W&B": WANDB, "the hub's token": token}.items():
        there = _inside(container, f"grep -rlF -- {secret} /srv /var/lib /etc 2>/dev/null")
        say(f"{kind}: held in {there.split() or 'no file'}")
        for place, text in outputs.items():
            hits = text.count(secret)
            say(f"{kind}, {place}: {hits} hits in {len(text):,} characters")
            yield {
                "secret": kind,
                "place": place,
                "searched": len(text),
                "hits": hits,
                "held": hits == 0 and bool(text),
            }
        wide = f"find / -xdev -type f -perm /077 -size -5M -exec grep -lF -- {secret} {{}} + 2>/dev/null"
        found = _inside(container, wide).split()
        say(f"{kind}, files wider than 0600: {found or 'none'}")
        yield {"secret": kind, "place": "files wider than 0600", "hits": len(found), "held": not found}


ON_HOST = {
    "the unit's text": "cat /etc/systemd/system/canvas-*",
    "what systemd tells of the unit": f"systemctl show canvas-training-{HOST}",
    "the journal": "journalctl --no-pager -o export",
    "environments that another user can read": "runuser -u nobody -- sh -c 'cat /proc/[0-9]*/environ' 2>&1",
}


def _refused(folder: Path, say: Callable[[str], None]) -> Iterator[dict[str, object]]:
    place = folder / "host_vars" / HOST / "misplaced.yml"
    place.parent.mkdir(parents=True)
    for kind, given in MISPLACED.items():
        place.write_text(yaml.safe_dump(given))
        told = _play(folder, "-vvvv", "--diff", fails=True, playbook="playbooks/preflight.yml")
        hits, refused = told.count(MARK + "-"), "SECRET_MISPLACED" in told
        say(f"{kind}: {'refused' if refused else 'NOT REFUSED'}, {hits} hits")
        yield {"secret": kind, "place": "-vvvv --diff of the refusal", "hits": hits, "held": refused and not hits}


def _inside(container: str, command: str) -> str:
    return podman("exec", container, "sh", "-c", command, check=False).stdout


def _play(folder: Path, *words: str, fails: bool = False, playbook: str = "site.yml") -> str:
    done = subprocess.run(
        ["ansible-playbook", "-i", str(folder), playbook, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=CHECKOUT,
    )
    if bool(done.returncode) != fails:
        raise RuntimeError(
            f"ansible-playbook {playbook} {' '.join(words[:1])} ended with {done.returncode}:\n{done.stdout[-3000:]}"
        )
    return done.stdout + done.stderr


def _runner(folder: Path) -> str:
    """All that ansible-runner writes of a converge."""
    place = GROUP.state / "runner"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    ansible_runner.run(
        private_data_dir=str(place), project_dir=str(CHECKOUT), playbook="site.yml", inventory=str(folder), quiet=True,
        envvars={"ANSIBLE_HOST_KEY_CHECKING": "True"},
    )  # fmt: skip
    return _texts(place)


def _cached(folder: Path) -> str:
    place = GROUP.state / "facts"
    shutil.rmtree(place, ignore_errors=True)
    environment = {"ANSIBLE_CACHE_PLUGIN": "jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(place)}
    os.environ.update(environment)
    try:
        _play(folder)
    finally:
        for name in environment:
            del os.environ[name]
    return _texts(place) or "no fact was cached"


def _texts(place: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(place.rglob("*")) if path.is_file())


def summary(rows: Sequence[dict[str, object]]) -> str:
    hits = sum(int(str(row["hits"])) for row in rows)
    return f"{len({row['secret'] for row in rows})} kinds of secrets, {len(rows)} places: {hits} hits"
