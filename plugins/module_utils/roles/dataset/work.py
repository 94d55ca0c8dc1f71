"""The long work of the dataset role: fetch, look at every row, write the training copy, its info file and the record.

Runs in the agent's environment (pyarrow, Pillow). Each step leaves the host whole when it is cut, and a second run
continues: files come into place by a rename, and the record names what canvas-fleet puts there before it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from ...core import wire
from ...core.errors import FleetError
from ...core.topology import Topology
from ...system import digests, files, folders, http
from ...trainer.row_groups import row_groups
from ...trainer.tokens import counter
from . import originals as places
from . import record, tokenizer
from . import rows as parquet_rows
from .copy import group_sizes, write_copy
from .decide import copy_spec, origin, wanted_digest
from .git import fetch_git
from .inspect import inspect, refuse
from .inspection import Inspection
from .record import Copy, Layout, layout

__all__ = ["inspect", "work"]

Progress = Callable[[int, int, str, str], None]


def work(spec: Any, progress: Progress) -> dict[str, Any]:
    """`spec` holds the role's variables by their own names, fleet_state_dir, and the run's ranks and workers.

    Returns changed, rows, row_groups, dropped (rows), and longest (row, tokens, image_tokens).
    """
    try:
        return _Work(spec, progress).run()
    except OSError as error:
        raise FleetError(
            "the data cannot be written or read on this host",
            variable="dataset_train_dir",
            found=f"{error.strerror or error}: {error.filename or ''}",
            expected="folders that the account of the work may write",
            remedy="free space, or correct the owner of the named path",
        ) from error


class _Work:
    def __init__(self, spec: Any, progress: Progress) -> None:
        self.spec, self.progress = spec, progress
        self.topology = Topology("", ("",), 0, int(spec["world_size"]), int(spec["num_workers"]), "", 0)
        self.paths: Layout = layout(spec)
        self.known = files.load(self.paths.record_path)
        self.repository = self.paths.record_path.parent / "repository.git"
        self.changed = False

    def run(self) -> dict[str, Any]:
        places.check_places(self.paths)
        folders.make(self.paths.record_path.parent)
        originals = {kind: self._original(kind, path) for kind, path in self.paths.originals.items()}
        folders.remove_tree(self.repository)  # the files are out of it, and it is as large as they
        inspection = self._inspected(originals)
        self._note(originals=originals, inspection=wire.to_dict(inspection))
        dropped = self._acceptable(inspection)
        copy = self._copy(originals["train"], inspection, dropped)
        self._info(copy)
        self._note(copy=copy)
        return {
            "changed": self.changed,
            "rows": copy["rows"],
            "row_groups": copy["row_groups"],
            "dropped": dropped[:100],
            "longest": wire.to_dict(inspection.longest),
        }

    def _note(self, **news: Any) -> None:
        if any(self.known.get(name) != value for name, value in news.items()):
            self.known.update(news)
            record.save(self.paths.record_path, self.known)

    def _own(self, path: Path, digest: str) -> None:
        if record.own(self.known, path, digest):
            record.save(self.paths.record_path, self.known)

    # --- the originals

    def _original(self, kind: str, path: Path) -> dict[str, Any]:
        entry = self.known.get("originals", {}).get(kind) or {}
        wanted, came = wanted_digest(self.spec, kind), origin(self.spec, kind)
        present = places.digest_of(path, entry)
        ours = entry.get("origin") == came and present == entry.get("sha256")
        if present and (present == wanted or (not wanted and ours)):
            return self._kept(path, present, came)
        part = path.with_name(f".{path.name}.part")
        self._fetch(kind, part)
        digest = digests.of_file(part)
        try:
            places.check_digest(digest, wanted, f"dataset_{kind}_sha256", f"the {kind} file of this source")
            places.may_replace(path, present, digest, self.known, f"dataset_{kind}")
        except FleetError:
            places.drop_part(part)
            raise
        if digest == present:
            places.drop_part(part)
            return self._kept(path, digest, came)
        self._own(path, digest)
        files.put(part, path, 0o644)
        self.changed = True
        return {**record.described(path, digest), "origin": came}

    def _kept(self, path: Path, digest: str, came: str) -> dict[str, Any]:
        self._own(path, digest)
        return {**record.described(path, digest), "origin": came}

    def _fetch(self, kind: str, part: Path) -> None:
        place, name = str(self.spec[f"dataset_{kind}"]), part.name[1:-5]

        def on_progress(done: int, total: int) -> None:
            self.progress(done, total, "B", name)

        if self.spec["dataset_source"] == "controller":
            self._take(kind, part)
        elif self.spec["dataset_source"] == "url":
            http.fetch_part(place, part, f"dataset_{kind}", on_progress)
        else:
            repo, commit = str(self.spec["dataset_repo"]), str(self.spec["dataset_commit"])
            fetch_git(repo, commit, place, part, self.repository, on_progress)

    def _take(self, kind: str, part: Path) -> None:
        source = Path(self.spec.get("incoming") or record.incoming(self.spec)) / self.paths.originals[kind].name
        if not source.is_file():
            raise FleetError(
                f"the {kind} file has not been copied to the host",
                variable=f"dataset_{kind}",
                found=f"nothing at {source}",
                expected="the file, copied by the role before this step",
            )
        files.copy(source, part)

    # --- the rows

    def _inspected(self, originals: Mapping[str, Mapping[str, Any]]) -> Inspection:
        digests = {kind: entry["sha256"] for kind, entry in originals.items()}
        known = wire.from_record(Inspection, self.known.get("inspection"), Inspection())
        current = known.of == digests and known.rules == parquet_rows.RULES
        if current and known.text == "counted":
            return known
        model = tokenizer.folder(self.spec, self.paths.record_path.parent)
        if current and not counter(model):
            return known
        test = self.paths.originals.get("test")
        found = inspect(str(self.paths.originals["train"]), str(test or ""), self.progress, model)
        return replace(found, of=digests)

    def _acceptable(self, inspection: Inspection) -> list[int]:
        """Rows to leave out. Raises FleetError when the data cannot be trained on."""
        refuse(inspection, self.spec, self.topology)
        return [row for row, _unused in inspection.bad]

    # --- the training copy

    def _copy(self, train: Mapping[str, Any], inspection: Inspection, dropped: list[int]) -> dict[str, Any]:
        world, workers = self.topology.world_size, self.topology.num_workers
        spec = copy_spec(self.spec, train["sha256"], world, workers)
        path, entry = self.paths.train_file, self.known.get("copy") or {}
        known = wire.from_record(Copy, entry)
        if known and known.spec == spec and record.unchanged(path, entry):
            return dict(entry)
        rows = inspection.rows - len(dropped)
        sizes = row_groups(rows, world, workers) if spec["reshard"] else group_sizes(inspection.row_groups, dropped)
        part = path.with_name(f".{path.name}.part")  # does not end with .parquet: the trainer would take it

        def on_progress(done: int) -> None:
            self.progress(done, rows, "rows", f"writing {path.name}")

        try:
            write_copy(train["path"], part, sizes, dropped, on_progress)
            digest, present = digests.of_file(part), places.digest_of(path, entry)
            places.may_replace(path, present, digest, self.known, "dataset_train_file")
        except (FleetError, OSError):
            files.remove(part)
            raise
        if present == digest:
            files.remove(part)
        else:
            self._own(path, digest)
            files.put(part, path)
            self.changed = True
        return {**record.described(path, digest), "spec": wire.to_dict(spec), "rows": rows, "row_groups": len(sizes)}

    def _info(self, copy: Mapping[str, Any]) -> None:
        path, text = self.paths.info_path, record.info_text(self.paths, copy["row_groups"], copy["rows"])
        present = places.digest_of(path, None)
        if present and files.text(path) == text:
            return
        if present and not record.owns(self.known, path, present):
            files.move(path, path.with_name(path.name + ".before-canvas-fleet"))
        files.write(path, text.encode())
        self._own(path, digests.of_file(path))
        self.changed = True
