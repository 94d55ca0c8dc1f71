"""A walk from a page alone, as a new user makes it: from nothing to the model at home, command by command, with times.

python -m tests.walk en|zh checkout|artifact

The commands are those of the page, copied: README.md or README.zh.md for a checkout; for the artifact
README.collection.md, or the part of docs/start.zh.md without a checkout. A terminal of a new account runs them. Its
server is a bare host of the demo's image. What differs from a rented server is added to the inventory after the page's
own steps: mirrors for what comes from the internet, no GPU, a training of 60 steps. The log says so; it is
reports/walk-LANGUAGE-KIND.md.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pexpect
import yaml

from demo import fleet, hosts
from demo.podman import STATE
from demo.steps import CHECKOUT, REPORTS, duration
from demo.surroundings import enter
from tools import artifact

USER = "walker"
HOME = Path("/home") / USER
CLONED = "https://github.com/canvas-fleet/canvas-fleet"
PROMPT = "walk:"
PAGES = {  # where the user reads, and from which heading to which
    ("en", "checkout"): ("README.md", "## Your own servers", "### Three recipes"),
    ("zh", "checkout"): ("README.zh.md", "## 用在自己的服务器上", "### 三个配方"),
    ("en", "artifact"): ("README.collection.md", "## Install", "`inventory/example` is"),
    ("zh", "artifact"): ("docs/start.zh.md", "**不用 checkout**", "## 登录"),
}
BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What the page calls for, and what this machine has instead.
GIVEN = {
    "canvas-fleet-*.tar.gz": "~/canvas-fleet-*.tar.gz",
    "collection install canvas.fleet": "collection install ~/canvas-fleet-*.tar.gz",
}
SHORT = {"run_config_total_steps": 60, "run_config_save_every": 20}
LAST = {
    "checkout": "ansible-playbook -i inventory/mine playbooks/{}.yml",
    "artifact": "ansible-playbook -i inventory/mine canvas.fleet.{}",
}


def commands(language: str, kind: str) -> list[str]:
    """Of the page, in its order."""
    page, begin, end = PAGES[language, kind]
    text = (CHECKOUT / page).read_text()
    part = text[text.index(begin) : text.index(end, text.index(begin))]
    lines = [line for block in BLOCK.findall(part) for line in block.splitlines()]
    return [line.split("  #")[0].rstrip() for line in lines]


@dataclass
class Walk:
    """A person at a terminal. `shown` is what the log gets."""

    kind: str
    server: str
    shown: list[str] = field(default_factory=list)
    times: list[tuple[str, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shell = pexpect.spawn("su", ["-", USER], encoding="utf-8", timeout=3600, dimensions=(40, 80))
        self.shell.sendline(f"stty -echo; PS1='{PROMPT}$?:'; PS2=''; unset PROMPT_COMMAND")
        self.shell.expect(f"{PROMPT}(\\d+):")
        for line in ("export LC_ALL=C.UTF-8", *(f"export {name}={value!r}" for name, value in _pip())):
            self._said(line)

    def _said(self, line: str) -> tuple[int, str]:
        self.shell.sendline(line)
        self.shell.expect(f"{PROMPT}(\\d+):")
        return int(self.shell.match.group(1)), self.shell.before

    def run(self, line: str) -> int:
        """A command of the page. Its questions are answered."""
        began = time.monotonic()
        if "init" in line or line.endswith("inventory"):
            code, text = self._inventory(line)
        else:
            code, text = self._said(line)
        seconds = time.monotonic() - began
        self.times.append((line, seconds, code))
        self.note(f"$ {line}", text, f"[{duration(seconds)}, return code {code}]")
        sys.stdout.write(f"{time.strftime('%T')}  {duration(seconds)}  {code}  {line}\n")
        sys.stdout.flush()
        return code

    def interrupted(self, line: str) -> None:
        """Ctrl-C while long work runs on the server."""
        began = time.monotonic()
        self.shell.sendline(line)
        self.shell.expect(r"  gpu-01  \w+  \d")
        text = self.shell.before
        self.shell.sendintr()
        self.shell.expect(f"{PROMPT}(\\d+):")
        code, seconds = int(self.shell.match.group(1)), time.monotonic() - began
        self.times.append((f"{line}    (Ctrl-C while work runs on the server)", seconds, code))
        self.note(f"$ {line}", text, "^C", self.shell.before, f"[{duration(seconds)}, return code {code}]")

    def _inventory(self, line: str) -> tuple[int, str]:
        self.shell.sendline(line)
        answers = {"Servers": self.server, "Training data": "~/train.parquet", "Test data": "~/test.parquet",
                   "everything": "", "results": "", "Type yes": "yes"}  # fmt: skip
        text = ""
        for question, answer in answers.items():
            if self.shell.expect([question, f"{PROMPT}(\\d+):"]):
                return int(self.shell.match.group(1)), text + self.shell.before
            text += f"{self.shell.before}{question} … {answer}"
            self.shell.sendline(answer)
        self.shell.expect(f"{PROMPT}(\\d+):")
        return int(self.shell.match.group(1)), text + self.shell.before

    def note(self, *texts: str) -> None:
        for text in texts:
            self.shown += [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", line) for line in text.split("\n")]


def _pip() -> Iterator[tuple[str, str]]:
    """Where pip finds its packages here."""
    done = subprocess.run(["env"], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith(("PIP_", "HTTP", "http", "no_proxy", "NO_PROXY", "SSL_CERT")):
            yield tuple(line.split("=", 1))  # type: ignore[misc]


@contextmanager
def walker(group: hosts.Group) -> Iterator[None]:
    """A new account with an empty home, the data that the user brings, and the key of the rented server."""
    subprocess.run(["userdel", "--force", USER], check=False, capture_output=True)
    shutil.rmtree(HOME, ignore_errors=True)
    subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", USER], check=True)
    try:
        content = STATE / "depot" / "content"
        for name in ("train", "test"):
            shutil.copy(next(content.rglob(f"{name}_split.parquet")), HOME / f"{name}.parquet")
        ssh = HOME / ".ssh"
        ssh.mkdir(mode=0o700)
        shutil.copy(group.client_key, ssh / "gpu")
        git = f'[url "{CHECKOUT}"]\n    insteadOf = {CLONED}\n[safe]\n    directory = *\n'
        (HOME / ".gitconfig").write_text(git)
        if artifact.file().is_file():
            shutil.copy(artifact.file(), HOME)
        subprocess.run(["chown", "-R", f"{USER}:{USER}", str(HOME)], check=True)
        yield
    finally:
        subprocess.run(["userdel", "--remove", "--force", USER], check=False, capture_output=True)


def surroundings(mine: Path, group: hosts.Group, depot: dict[str, object]) -> str:
    """What a rented server would not need, as variables that any user could set; the demo's own. Returns their text."""
    lab = yaml.safe_load((fleet.INVENTORY / "group_vars" / "trainers.yml").read_text())
    own = ("ansible_", "dataset_")  # the page's own steps have set these
    lines = {**fleet.generated(group, depot), **{name: one for name, one in lab.items() if not name.startswith(own)}}
    text = yaml.safe_dump(lines, sort_keys=False, width=120)
    (mine / "group_vars" / "all.yml").write_text(text)
    written = (mine / "group_vars" / "trainers.yml").read_text()
    for name, value in SHORT.items():
        written = re.sub(rf"^{name}: .*$", f"{name}: {value}", written, flags=re.MULTILINE)
    (mine / "group_vars" / "trainers.yml").write_text(
        written.replace("training_profile: auto", "training_profile: full")
    )
    return "".join(f"{name}: …\n" for name in sorted({*lines, *SHORT, "training_profile"}))


def walk(language: str, kind: str) -> int:
    """The worst return code of the last three commands: the model is at home, twice asked for, and sound."""
    group = hosts.Group(STATE / "walk", "walk")
    depot = fleet.ensure_depot()
    if kind == "artifact":
        artifact.main()
    hosts.down(group)
    address = hosts.up(group, ["rented"])["rented"]
    with walker(group):
        person = Walk(kind, f"ssh -i ~/.ssh/gpu {hosts.USER}@{address}")
        try:
            begin_to_end(person, commands(language, kind), lambda folder: surroundings(folder, group, depot))
        finally:
            written = report(language, kind, person)
    hosts.down(group)
    return written


def begin_to_end(person: Walk, page: list[str], edit: Callable[[Path], str]) -> None:
    """The page's commands, and after them what it says of a run that has begun."""
    line_of = LAST[person.kind]
    edited = False
    for read in page:
        line = read
        for asked, have in GIVEN.items():
            line = line.replace(asked, have) if "~/canvas" not in line else line
        if line.startswith("sudo "):
            person.note(f"$ {line}", "(by the machine's owner, before)")
            continue
        if not edited and re.search(r"site|status", line):
            folder = HOME / "canvas-fleet" if person.kind == "checkout" else HOME
            person.note("(the user edits the inventory:)", edit(folder / "inventory/mine"))
            edited = True
            person.run(line_of.format("plan"))
        if person.kind == "artifact" and "site" in line:
            person.interrupted(line)
        if "fetch" not in line:
            person.run(line)
    person.run(line_of.format("status") + " -e training_follow=true")
    for _twice in range(2):
        person.run(line_of.format("fetch") + " --limit gpu-01")
    person.run("(cd fetched/gpu-01/[0-9]*/ && sha256sum -c SHA256SUMS && ls -l)")


def report(language: str, kind: str, person: Walk) -> int:
    REPORTS.mkdir(exist_ok=True)
    rows = [f"| `{line}` | {duration(seconds)} | {code} |" for line, seconds, code in person.times]
    total = duration(sum(seconds for _line, seconds, _code in person.times))
    head = [
        f"# {PAGES[language, kind][0]}, {kind}: {total}",
        "",
        "| command | time | return code |",
        "| --- | --- | --- |",
    ]
    (REPORTS / f"walk-{language}-{kind}.md").write_text("\n".join([*head, *rows, "", "```", *person.shown, "```", ""]))
    sys.stdout.write("\n".join([head[0], *rows, ""]))
    return max(code for line, _seconds, code in person.times[-3:])


def main(words: list[str]) -> int:
    if tuple(words) not in PAGES:
        sys.stderr.write(str(__doc__))
        return 2
    enter()
    return walk(words[0], words[1])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
