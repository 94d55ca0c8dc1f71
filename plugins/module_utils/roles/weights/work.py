"""Fetches and verifies the model folder; runs in the agent environment as the fleet's user.

Cut anywhere it goes on: parts are continued, a file appears under its name only when its digest is right, and the
record is written after each file. A file of the user's that has another digest is refused before anything is fetched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...core.errors import FleetError
from ...core.progress import Progress, amount
from ...system import files, folders
from ...system.digests import git_blob, of_file
from ...system.hub import Hub, HubFile, watched
from . import decide, observe, record

TELLING = 64 << 20  # bytes below which a rate says little of the line
WRONG = "the file is not the one of this revision"


def preview(spec: Any) -> list[str]:
    """What work() would do, judged by the record alone."""
    return list(decide.decide(observe.observe(spec), spec, None).reasons)


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """`spec`: the weights_* settings and fleet_state_dir. Returns changed, fetched, adopted, revision and bytes."""
    if not preview(spec):
        return {"changed": False, "fetched": [], "adopted": [], "revision": record.read(spec).revision}
    return Fetcher(spec, progress).bring()


class Fetcher:
    """One pass over one model folder."""

    def __init__(self, spec: Any, progress: Progress) -> None:
        self._spec = spec
        self._progress = progress
        self._folder = Path(str(spec["weights_dir"]))
        self._staging = self._folder / observe.STAGING
        self._record_path = record.path(spec)
        self._record = files.load(self._record_path)
        self._entries: dict[str, dict[str, Any]] = self._record.get("files", {})
        self._hub = Hub(
            str(spec["weights_repo"]),
            str(spec["weights_revision"]),
            str(spec["weights_endpoint"]),
            str(spec.get("weights_token") or ""),
            float(spec["weights_stall_timeout"]),
        )

    def bring(self) -> dict[str, Any]:
        self._make_folder()
        wanted = self._wanted()
        adopted, missing = [], []
        for file in wanted:
            if self._adopt(file):
                adopted.append(file.name)
            elif not self._is_known(file):
                missing.append(file)
        self._remove_stale_parts(missing)
        self._check_disk(missing)
        rate = self._fetch_all(missing)
        commit = wanted[0].commit if wanted else str(self._spec["weights_revision"])
        self._finish(commit, rate)
        return {
            "changed": True,
            "fetched": [file.name for file in missing],
            "adopted": adopted,
            "revision": commit,
            "bytes": sum(file.size for file in wanted),
        }

    def _make_folder(self) -> None:
        if os.path.lexists(self._folder) and not self._folder.is_dir():
            raise FleetError(
                "a folder is needed here",
                variable="weights_dir",
                found=f"{self._folder} is no folder",
                remedy="move the file away, or choose another folder",
            )
        folders.make(self._folder)
        folders.make(self._record_path.parent)

    def _wanted(self) -> list[HubFile]:
        """Files of the revision, small ones first; without a network if the user gave all digests."""
        given = self._spec["weights_sha256"]
        names, revision = list(self._spec["weights_files"]), str(self._spec["weights_revision"])
        if decide.COMMIT.fullmatch(revision) and all(name in given for name in names):
            sizes = {name: observe.stamp(self._folder / name) for name in names}
            if all(sizes.values()):
                return [HubFile(name, (sizes[name] or {})["size"], given[name], revision) for name in names]
        found: list[HubFile] = []
        for number, name in enumerate(names):
            self._progress(number, len(names), "files", "asking the hub")
            found.append(self._hub.describe(name, found[0].commit if found else ""))
        for file in found:
            if len(file.etag) == 64 and given.get(file.name, file.etag) != file.etag:
                raise FleetError(
                    "the hub's file has another digest",
                    variable="weights_sha256",
                    found=f"{file.name} of {self._spec['weights_repo']}: sha256 {file.etag}",
                    expected=f"sha256 {given[file.name]}",
                    remedy="correct the digest or the revision in the inventory",
                )
        return sorted(found, key=lambda file: file.size)

    def _is_known(self, file: HubFile) -> bool:
        entry = self._entries.get(file.name, {})
        return observe.known(entry, observe.stamp(self._folder / file.name)) and self._is_right(file, entry)

    def _is_right(self, file: HubFile, digests: Mapping[str, Any]) -> bool:
        given = self._spec["weights_sha256"].get(file.name, digests.get("sha256"))
        key = "sha256" if len(file.etag) == 64 else "blob"
        return bool(digests.get(key) == file.etag and digests.get("sha256") == given)

    def _adopt(self, file: HubFile) -> bool:
        """True for a foreign file with the right digest. Raises FleetError for a wrong one."""
        path = self._folder / file.name
        now, entry = observe.stamp(path), self._entries.get(file.name, {})
        if now is None:
            if os.path.lexists(path) and not path.is_symlink():
                raise self._wrong(file, "no plain file")
            return False
        if observe.known(entry, now):
            if self._is_right(file, entry) or entry.get("origin") == "fetched":
                return False  # right, or ours of another revision, which the new one replaces
            raise self._wrong(file, f"sha256 {entry.get('sha256')}")
        if now["size"] != file.size:
            raise self._wrong(file, f"{now['size']} bytes")
        digests = self._hash(path, file, "checking")
        if not self._is_right(file, digests):
            raise self._wrong(file, f"sha256 {digests['sha256']}")
        self._remember(file, digests, str(entry.get("origin") or "adopted"))
        return True

    def _wrong(self, file: HubFile, found: str) -> FleetError:
        kind = "sha256" if len(file.etag) == 64 else "git blob"
        return FleetError(
            WRONG,
            variable="weights_dir",
            found=f"{self._folder / file.name}: {found}",
            expected=f"{file.size} bytes, {kind} {file.etag}",
            remedy="move the named file away; the next converge fetches the right one",
        )

    def _hash(self, path: Path, file: HubFile, verb: str) -> dict[str, str]:
        def tell(done: int) -> None:
            self._progress(done, file.size, "B", f"{verb} {file.name}")

        return digests(path, blob=len(file.etag) == 40, tell=tell)

    def _remember(self, file: HubFile, digests: Mapping[str, str], origin: str) -> None:
        now = observe.stamp(self._folder / file.name)
        self._entries[file.name] = {**(now or {}), **digests, "origin": origin, "revision": file.commit}
        # Not the whole folder is of this revision until all files are.
        files.save(self._record_path, {"dir": str(self._folder), "files": self._entries})

    def _finish(self, commit: str, rate: float) -> None:
        folders.remove_tree(self._staging)
        whole = {"repo": self._spec["weights_repo"], "revision": commit, "asked": self._spec["weights_revision"]}
        whole["rate"] = rate or self._record.get("rate", 0)
        files.save(self._record_path, {"dir": str(self._folder), "files": self._entries, **whole})

    def _part(self, file: HubFile) -> Path:
        return self._staging / f"{file.name.replace('/', '--')}.{file.etag}.part"

    def _remove_stale_parts(self, missing: list[HubFile]) -> None:
        """Partial files that are no longer wanted."""
        alive = {self._part(file) for file in missing}
        for part in self._staging.glob("*.part"):
            if part not in alive:
                files.remove(part)

    def _check_disk(self, missing: list[HubFile]) -> None:
        need = sum(file.size - min(file.size, observe.size_of(self._part(file))) for file in missing)
        free = folders.free(self._folder)
        if need > free:
            raise FleetError(
                "the disk is too small for the model",
                variable="weights_dir",
                found=f"{amount(free, 'B')} free at {self._folder}",
                expected=f"{amount(need, 'B')}",
                remedy="free space, or put weights_dir on a larger disk",
            )

    def _fetch_all(self, missing: list[HubFile]) -> float:
        """Returns the rate in B/s including verification; 0 when too little was fetched."""
        total, before, started = sum(file.size for file in missing), 0, time.monotonic()
        there = sum(min(file.size, observe.size_of(self._part(file))) for file in missing)
        if missing:
            folders.make(self._staging)
        for file in missing:
            self._fetch(file, before, total)
            before += file.size
        return round((total - there) / (time.monotonic() - started)) if total - there > TELLING else 0

    def _fetch(self, file: HubFile, before: int, total: int) -> None:
        part = self._part(file)
        for last in (False, True):

            def tell(done: int, name: str = file.name) -> None:
                self._progress(before + done, total, "B", name)

            with watched(part, tell):
                self._hub.fetch(file, part)
            digests = self._hash(part, file, "verifying")
            if self._is_right(file, digests):
                break
            files.remove(part)  # a part that was continued may hold bytes of a bad moment: once more from the beginning
            if last:
                raise FleetError(
                    "the hub sends other content than it announces",
                    variable="weights_sha256" if file.name in self._spec["weights_sha256"] else "weights_endpoint",
                    found=f"{file.name}: sha256 {digests['sha256']}",
                    expected=f"{file.etag}",
                    remedy="use another endpoint, or correct weights_sha256",
                )
        target = self._folder / file.name
        folders.make(target.parent)
        files.put(part, target, 0o644)
        self._remember(file, digests, "fetched")


def digests(path: Path, blob: bool, tell: Callable[[int], None]) -> dict[str, str]:
    """sha256, and git's blob id when asked for, in one reading."""
    done, git = 0, git_blob(path.stat().st_size)

    def each(block: bytes) -> None:
        nonlocal done
        done += len(block)
        if blob:
            git.update(block)
        tell(done)

    whole = of_file(path, each=each)
    return {"sha256": whole, **({"blob": git.hexdigest()} if blob else {})}
