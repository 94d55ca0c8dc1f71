"""A git checkout on the host: what it is, what a person changed in it, and how it gets another commit.

Git runs as the owner of the folder (so git's own ownership check is satisfied without any configuration), never asks
on a terminal, and takes no locks while it only reads.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import FleetError
from ...system import files
from ...trainer import patch as patches
from ...trainer import patch_table, registration

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_NAMES = re.compile(r"(^|/)\.[^/]*\.canvas-fleet$|\.user-[0-9a-f]{8}$")


def find_git() -> str:
    """Path of git on this host, or "" ."""
    return shutil.which("git", path=SEARCH) or ""


def without_secrets(text: str) -> str:
    """Text of git or a URL without the login that a URL may carry."""
    return re.sub(r"//[^/@\s]+@", "//", text)


@dataclass(frozen=True)
class Ours:
    """What we write inside the checkout, which is no edit of a person. Paths are relative to the checkout."""

    registration: str
    yaml: str
    patched: Mapping[str, str]  # to the path below canvas_code_dir that the patch table names

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Ours:
        top, code = str(settings["canvas_code_checkout"]), str(settings["canvas_code_dir"])
        info = os.path.join(code, "data", "dataset_info.py")
        return cls(
            registration=os.path.relpath(info, top),
            yaml=os.path.relpath(str(settings["run_config_yaml"]), top),
            patched={os.path.relpath(os.path.join(code, one.path), top): one.path for one in patch_table.known()},
        )

    def hides(self, path: str) -> bool:
        return path == self.yaml or bool(_OWN_NAMES.search(path))

    def stripped(self, path: str, data: bytes) -> bytes:
        """The file without our part. Raises FleetError when a marker of ours in it is broken."""
        if path == self.registration:
            return registration.unregister(data)
        return patches.stripped(patch_table.known(), self.patched[path], data) if path in self.patched else data

    def alone(self, path: str, have: bytes | None, original: bytes | None) -> bool:
        """True when the file differs from the original by our part and nothing else."""
        if have is None or original is None or have == original:
            return False
        try:
            return self.stripped(path, have) == original
        except FleetError:
            return False


class Git:
    """Git in one folder. Output is bytes; paths are relative to the folder."""

    def __init__(self, folder: str, *, as_uid: int | None = None) -> None:
        self.folder = folder
        self.binary = find_git()
        self.uid = os.stat(folder).st_uid if as_uid is None else as_uid

    def __call__(self, *args: str, ok: Iterable[int] = (0,), lock: int | None = None) -> bytes:
        """Run git. Raises FleetError with git's last words when the exit code is not in `ok`.

        lock: a file descriptor that git inherits, so that the lock lives as long as git does.
        """
        if not self.binary:
            raise FleetError(
                "git is not installed", found="no git on the host", expected="the role fleet_agent's packages"
            )
        argv = [self.binary, "-c", "core.quotePath=false", "-C", self.folder, *args]
        done = subprocess.run(
            argv,
            capture_output=True,
            check=False,
            cwd="/",
            env=self._env(),
            pass_fds=(lock,) if lock else (),
            **self._user(),
        )
        if done.returncode not in ok:
            words = without_secrets(done.stderr.decode(errors="replace")).strip().splitlines() or ["no message"]
            raise FleetError(f"git {args[0]} failed", found=" / ".join(words[-4:]), expected=f"exit code {list(ok)}")
        return bytes(done.stdout)

    def ok(self, *args: str) -> bool:
        try:
            self(*args)
        except FleetError:
            return False
        return True

    def line(self, *args: str) -> str:
        """First line of the answer, "" when git fails."""
        try:
            return self(*args).decode(errors="replace").strip()
        except FleetError:
            return ""

    def _env(self) -> dict[str, str]:
        try:
            home = pwd.getpwuid(self.uid).pw_dir
        except KeyError:
            home = "/nonexistent"
        kept = {
            key: value for key, value in os.environ.items() if key.lower().endswith("_proxy") or key == "GIT_SSL_CAINFO"
        }
        return {
            **kept,
            "PATH": SEARCH,
            "HOME": home,
            "LC_ALL": "C.UTF-8",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_HTTP_LOW_SPEED_LIMIT": "1000",
            "GIT_HTTP_LOW_SPEED_TIME": "60",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
        }

    def _user(self) -> dict[str, Any]:
        if os.geteuid() != 0 or self.uid == 0:
            return {}
        try:
            gid = pwd.getpwuid(self.uid).pw_gid
        except KeyError:
            gid = os.stat(self.folder).st_gid
        return {"user": self.uid, "group": gid, "extra_groups": []}

    def has(self, commit: str) -> bool:
        return self.ok("cat-file", "-e", f"{commit}^{{commit}}")

    def blob(self, commit: str, path: str) -> bytes | None:
        """A file of a commit, None when the commit has none of that name."""
        try:
            return self("cat-file", "blob", f"{commit}:{path}")
        except FleetError:
            return None

    def read(self, path: str) -> bytes | None:
        """A file of the work tree; a link is read as its target, as git stores it."""
        full = os.path.join(self.folder, path)
        try:
            if os.path.islink(full):
                return os.readlink(full).encode()
            return files.read(full)
        except OSError:
            return None

    def status(self) -> list[tuple[str, str]]:
        """(two letters of git status, path) of all that differs from HEAD, untracked files too, ignored ones not."""
        raw = self("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
        return [(part[:2], part[3:]) for part in raw.decode(errors="surrogateescape").split("\0") if part]

    def touched(self, target: str) -> set[str]:
        """Paths that differ between HEAD and target."""
        raw = self("diff", "--name-only", "-z", "--no-renames", "HEAD", target)
        return {part for part in raw.decode(errors="surrogateescape").split("\0") if part}


def edits(git: Git, ours: Ours) -> list[str]:
    """Files that a person changed, removed or (Python files, which can be imported) added; ours are not among them."""
    found = []
    for letters, path in git.status():
        if ours.hides(path) or (letters == "??" and not path.endswith(".py")):
            continue
        if ours.alone(path, git.read(path), git.blob("HEAD", path)):
            continue
        found.append(path)
    return found


def foreign_files(git: Git, ours: Ours) -> list[str]:
    """Files and folders that no commit holds and that are not ours, those that git is told to ignore too."""
    raw = git("status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames")
    parts = raw.decode(errors="surrogateescape").split("\0")
    return [part[3:] for part in parts if part[:2] in ("??", "!!") and not ours.hides(part[3:])]


def record_path(folder: str) -> str:
    return os.path.join(folder, ".git", "canvas-fleet.json")


def record(folder: str) -> dict[str, Any]:
    """Our note in the checkout: repo, asked (the setting), commit (what it came to), pending (a change under way)."""
    return files.load(record_path(folder))


def head(folder: str) -> str:
    """Commit of HEAD without git: enough for a host where git was never installed. "" when there is none yet."""
    text = files.text(os.path.join(folder, ".git", "HEAD")).strip()
    return text if re.fullmatch(r"[0-9a-f]{40}", text) else ""


def same_repo(one: str, other: str) -> bool:
    """True for two spellings of one repository: with or without .git, a final slash, a login."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    url = without_secrets(url).rstrip("/")
    url = re.sub(r"^(ssh|git|https?)://(git@)?|^git@", "", url).replace(":", "/")
    return url[:-4] if url.endswith(".git") else url
