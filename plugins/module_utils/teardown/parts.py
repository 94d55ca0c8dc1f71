"""What canvas-fleet left on a host, role by role: what goes, and what stays because a person could miss it. Reads only.

Whose a file is, the roles' own records tell: their digests, the note in the checkout, the origin of each weights file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoints import seal as checkpoint_seal
from ..core.errors import FleetError
from ..roles.canvas_code import copy as code_copy
from ..roles.canvas_code import decide as canvas_code_plan
from ..roles.canvas_code import git as git_folder
from ..roles.canvas_code import observe as canvas_code
from ..roles.canvas_code import patching as code_patches
from ..roles.canvas_code.git import Git, Ours
from ..roles.dataset import record as dataset_record
from ..roles.fleet_agent import work as fleet_agent_work
from ..roles.run_config import observe as run_config
from ..roles.run_config import script as launch
from ..roles.weights import observe as weights
from ..system import files, managed_files
from ..system.digests import sha256
from ..trainer import checkpoint as checkpoints
from ..trainer import registration

BY_HAND = "changed by hand"
# What checkpoint_seal, its neighbours and peers make in there.
_KEPT = re.compile(
    r"\d{7,}(\.json)?(\.new)?|aside|(attempt(-\d+)?|fetched\.json)(\.new)?|\.(back|fetch|lock|new|old)\b.*"
)
_MADE_ANEW = re.compile(r"(^|/)__pycache__/|\.pyc$")
Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A path of ours. `why` a person could miss it; the `word` of fleet_teardown_include that lets it go.

    `take`: how it is taken away where that is not by removing the path.
    """

    role: str
    path: str
    why: str = ""
    word: str = ""
    take: Callable[[], None] | None = None

    def goes(self, also: frozenset[str]) -> bool:
        return not self.why or self.word in also


def parts(settings: Settings) -> list[Part]:
    """All of it, in the order in which it is taken away."""
    roles = (_run_config, _code, _dataset, _weights, _outputs, _agent)
    return [part for role in roles for part in role(settings)]


def _run_config(settings: Settings) -> Iterator[Part]:
    record = managed_files.Record(run_config.record_path(settings))
    for name in ("run_config_wandb_key_file", "run_config_script", "run_config_yaml"):
        path = str(settings[name])
        data = managed_files.read(path)
        if data is None or not record.wrote(path):
            continue
        known = record.knows(path, sha256(data))
        yield Part("run_config", path, "" if known else BY_HAND, "edits")
    yield from _entry(run_config.registration_path(settings))


def _entry(path: str) -> Iterator[Part]:
    """Our block in dataset_info.py: it goes alone, the file is the code's."""
    source = managed_files.read(path)
    if source is None:
        return
    try:
        clean = registration.unregister(source)
    except FleetError as error:
        yield Part("run_config", path, f"{BY_HAND}: {error.message}")
        return
    if clean == source:
        return

    yield Part("run_config", f"{path} (the dataset's entry)", take=lambda: files.rewrite(path, clean))


def _code(settings: Settings) -> Iterator[Part]:
    path = str(settings["canvas_code_checkout"])
    seen = canvas_code.observe(settings)
    ours = seen["state"] == "copy" or bool(seen["state"] in ("checkout", "unfinished") and seen.get("record"))
    patched = (seen.get("code") or {}).get("patched", [])
    if patched:
        where = f"{settings['canvas_code_dir']} (patches in {', '.join(patched)})"
        yield Part("canvas_code", where, take=lambda: code_patches.take_back(settings))
    if ours:
        yield Part("canvas_code", path, _missed(path, settings, seen), "edits")
    if os.path.isdir(f"{path}.canvas-fleet-part"):
        yield Part("canvas_code", f"{path}.canvas-fleet-part")
    for patch in sorted(Path(str(settings["fleet_state_dir"]), "canvas_code").glob("edits-*.patch")):
        yield Part("canvas_code", str(patch), "changes made by hand, saved before a change of commit", "edits")


def _missed(path: str, settings: Settings, seen: Mapping[str, Any]) -> str:
    """What a person would miss of the code's folder; "" when it is all ours."""
    ours = Ours.of(settings)
    if seen["state"] == "copy":
        note = code_copy.record(path)
        kept = {*note["files"], *note["pending"], os.path.basename(code_copy.record_path(path))}
        added = [one for one in _files(path) if one not in kept and not ours.hides(one)]
        own = [*seen["edits"], *added]
    else:
        note = seen.get("record") or {}
        if note.get("pending") or seen.get("error"):
            return f"what was changed in it cannot be told: {seen.get('error') or 'a change of commit was cut off'}"
        git = Git(path)
        if not git.binary:
            return "without git nobody can tell what was changed in it"
        if git.line("for-each-ref", "refs/heads", "refs/stash"):
            return "it has branches or a stash of its own"
        if seen.get("commit") and seen["commit"] != note.get("commit"):
            return f"it stands on another commit, {str(seen['commit'])[:8]}"
        own = [*seen["edits"], *(one for one in git_folder.foreign_files(git, ours) if one not in seen["edits"])]
    own = [one for one in own if not _MADE_ANEW.search(one)]
    return f"changed or added by hand: {canvas_code_plan.named(own)}" if own else ""


def _files(folder: str) -> list[str]:
    found = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sorted(os.path.relpath(path, folder) for path in found)


def _dataset(settings: Settings) -> Iterator[Part]:
    paths = dataset_record.layout(settings)
    known = dataset_record.load(paths.record_path)
    folders = {paths.output_dir, paths.train_dir, paths.info_path.parent}
    originals = {str(entry.get("path")): entry for entry in (known.get("originals") or {}).values()}
    entries = {**originals, str((known.get("copy") or {}).get("path")): known.get("copy")}
    for name, written in sorted((known.get("owned") or {}).items()):
        path = Path(name)
        if path.parent not in folders or path.is_symlink() or not path.is_file():
            continue  # the account writes the record: only what lies where data lies is believed to be ours
        entry = entries.get(name)
        same = dataset_record.unchanged(path, entry) or dataset_record.sha256(path) in written
        if not same:
            yield Part("dataset", name, "it is another file than the one that was put there", "edits")
        elif path.parent == paths.output_dir:
            yield Part("dataset", name, "the data as it came", "data")
        else:
            yield Part("dataset", name)
    for part in sorted(part for folder in (paths.output_dir, paths.train_dir) for part in folder.glob(".*.part*")):
        yield Part("dataset", str(part))


def _weights(settings: Settings) -> Iterator[Part]:
    folder = Path(str(settings["weights_dir"]))
    record = weights.read_record(weights.record_path(settings))
    for name, entry in sorted((record.get("files") or {}).items()):
        if not files.stays_below(name):
            continue
        path = folder / name
        now = weights.stamp(path)
        if now is None:
            continue
        if entry.get("origin") != "fetched":
            yield Part("weights", str(path), "it was there before canvas-fleet")
        elif not weights.known(entry, now):
            yield Part("weights", str(path), "changed since it was fetched", "edits")
        else:
            yield Part("weights", str(path), "hours of download", "weights")
    if (folder / weights.STAGING).is_dir():
        yield Part("weights", str(folder / weights.STAGING), "the start of a download", "weights")


def _outputs(settings: Settings) -> Iterator[Part]:
    results, folder = str(settings["training_results_dir"]), str(settings["training_checkpoint_dir"])
    own = results.startswith(f"{settings['fleet_root']}/")  # elsewhere caches and wandb may be other programs' too
    if own and os.path.isdir(os.path.join(results, launch.CACHE)):
        yield Part("training", os.path.join(results, launch.CACHE))
    found = [one.path for one in checkpoints.survey(folder).checkpoints]
    kept = kept_dir(settings)  # the user's to choose, so it may hold other things
    names = sorted(os.listdir(kept)) if os.path.isdir(kept) else ()
    found += [os.path.join(kept, name) for name in names if _KEPT.fullmatch(name)]
    logs = (os.path.join(results, name) for name in ("log.txt", *(["wandb"] if own else [])))
    found += [path for path in logs if os.path.lexists(path)]
    for path in found:
        yield Part("training", path, "what the training made", "checkpoints")


def kept_dir(settings: Settings) -> str:
    """Where the run's seals and links lie."""
    names = ("training_results_dir", "training_checkpoint_dir", "training_kept_dir")
    return checkpoint_seal.kept_dir_of(*(str(settings[name]) for name in names))


def _agent(settings: Settings) -> Iterator[Part]:
    link = str(settings["fleet_agent_dir"])
    if os.path.islink(link):
        if os.readlink(link).startswith(f"{link}.d/") and os.path.isdir(f"{link}.d"):
            yield Part("fleet_agent", f"{link}.d")
        yield Part("fleet_agent", link)  # last: it tells whose the folder beside it is
    for place in fleet_agent_work.TRUST:
        for certificate in sorted(Path(place).glob("canvas-fleet-*.crt")):
            yield Part("fleet_agent", str(certificate))
