"""A git checkout on the host, and edits by hand in it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...core.errors import FleetError
from ...core.masking import without_logins
from ...core.settings import Settings
from ...system import files
from ...system.git import Git
from ...trainer import patch_table, registration
from . import originals

_OWN_NAMES = re.compile(r"(^|/)\.[^/]*\.canvas-fleet$|\.user-[0-9a-f]{8}$")


@dataclass(frozen=True)
class Ours:
    """Files that canvas-fleet writes in the checkout. They are no edits. Paths are relative to the checkout."""

    registration: str
    yaml: str
    patched: Mapping[str, str]  # to the path below canvas_code_dir that the patch table names
    originals: str = ""  # folder of the originals of patched files

    @classmethod
    def of(cls, settings: Settings) -> Ours:
        top, code = str(settings["canvas_code_checkout"]), str(settings["canvas_code_dir"])
        info = os.path.join(code, "data", "dataset_info.py")
        return cls(
            registration=os.path.relpath(info, top),
            yaml=os.path.relpath(str(settings["run_config_yaml"]), top),
            patched={os.path.relpath(os.path.join(code, path), top): path for path in patch_table.paths()},
            originals=originals.folder(settings),
        )

    def hides(self, path: str) -> bool:
        return path == self.yaml or bool(_OWN_NAMES.search(path))

    def stripped(self, path: str, data: bytes) -> bytes:
        """The file without our part. Raises FleetError for a broken marker."""
        if path == self.registration:
            return registration.unregister(data)
        return originals.stripped(self.originals, self.patched[path], data) if path in self.patched else data

    def alone(self, path: str, have: bytes | None, original: bytes | None) -> bool:
        """True when only our part differs from the original."""
        if have is None or original is None or have == original:
            return False
        try:
            return self.stripped(path, have) == original
        except FleetError:
            return False


def edits(git: Git, ours: Ours) -> list[str]:
    """Files that a person changed, removed or added (Python files only, because they can be imported); not ours."""
    found = []
    for letters, path in git.status():
        if ours.hides(path) or (letters == "??" and not path.endswith(".py")):
            continue
        if ours.alone(path, git.read(path), git.blob("HEAD", path)):
            continue
        found.append(path)
    return found


def foreign_files(git: Git, ours: Ours) -> list[str]:
    """Foreign files and folders outside of all commits, ignored ones too."""
    raw = git("status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignored=matching", "--no-renames")
    parts = raw.decode(errors="surrogateescape").split("\0")
    return [part[3:] for part in parts if part[:2] in ("??", "!!") and not ours.hides(part[3:])]


def head(folder: str) -> str:
    """Commit of HEAD without git: enough for a host where git was never installed. "" when there is none yet."""
    text = files.text(os.path.join(folder, ".git", "HEAD")).strip()
    return text if re.fullmatch(r"[0-9a-f]{40}", text) else ""


def same_repo(one: str, other: str) -> bool:
    """True for two spellings of one repository: with or without .git, a final slash, a login."""
    return _plain(one) == _plain(other)


def _plain(url: str) -> str:
    url = without_logins(url).rstrip("/")
    url = re.sub(r"^(ssh|git|https?)://(git@)?|^git@", "", url).replace(":", "/")
    return url[:-4] if url.endswith(".git") else url
