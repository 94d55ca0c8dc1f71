"""Makes a model folder for use: the base's files, the chosen weights under the name that inference reads, a card, sums.

The weights are shared with the checkpoint, not copied, where the file system can (system/shares.py): a rotation of the
checkpoint takes its own name away, and no program can write to them any more. One export at a time; all of it is the
account's. Cut anywhere, the next call comes to the same folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..core import wire
from ..core.progress import Progress
from ..core.version import VERSION
from ..system import files, folders
from ..system.digests import of_file, sha256
from ..system.shares import share
from . import export_choice, exports, staged
from .export_choice import Choice, ExportSpec, same_content
from .exports import CARD, RECORD, SUMS, WEIGHTS, Exported

LARGE = ".safetensors"
LOOK = 1.0  # seconds between two looks at another's export
EDITABLE = 16 << 20  # bytes; of a smaller file a person's edit is kept


def make(
    spec: ExportSpec, card: str, progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """{"changed", "name", "path", "step", "weights", "bytes", "shared", "edited"}. Raises FleetError, OSError."""
    export_choice.choose(spec)
    folders.make(spec.folder)

    def waits() -> None:
        progress(0, 0, "", "waits for another export")
        sleep(LOOK)

    with files.in_turn(f"{spec.folder}/.lock", waits):
        return _Export(spec, card, progress).make()


@dataclass(frozen=True)
class _Export:
    spec: ExportSpec
    card: str
    tell: Progress

    def make(self) -> dict[str, Any]:
        staged.settle(self.spec.folder)
        choice = export_choice.choose(self.spec)
        target = f"{self.spec.folder}/{choice.name}"
        there = exports.exported_in(target)
        edited = self._edited(target, there)
        sources = self._sources(choice, target, edited)
        if there and there.base == choice.base and self._unchanged(there, target, sources, CARD in edited):
            return {"changed": False, **_answer(target, choice, there, edited)}
        made = self._fill(choice, there, target, sources, edited)
        staged.finish(self.spec.folder, choice.name)
        return {"changed": True, **_answer(target, choice, made, edited)}

    def _sources(self, choice: Choice, target: str, edited: list[str]) -> dict[str, str]:
        """Where each file but card, record and sums comes from. What a person has edited stays."""
        names = [name for name in exports.names_in(self.spec.names) if name not in (CARD, RECORD)]
        base = {name: f"{self.spec.base}/{name}" for name in names}
        return {**base, WEIGHTS: choice.source, **{name: f"{target}/{name}" for name in edited if name in base}}

    def _edited(self, target: str, there: Exported | None) -> list[str]:
        """Small files of the export that are no longer what was written."""
        if not there:
            return []
        wanted = {**there.files, CARD: there.card}
        sizes = {name: export_choice.plain_size(f"{target}/{name}") for name in wanted if files.stays_below(name)}
        small = [name for name, size in sizes.items() if 0 <= size <= EDITABLE and not name.endswith(LARGE)]
        return [name for name in small if of_file(f"{target}/{name}") != wanted[name]]

    def _unchanged(self, there: Exported, target: str, sources: dict[str, str], own_card: bool) -> bool:
        sums = exports.sums_in(target)
        names = {*sources, CARD, RECORD}
        if set(sums) != names or sums != self._sums(
            target, {name: sums[name] for name in names if name.endswith(LARGE)}
        ):
            return False
        same = all(same_content(source, f"{target}/{name}") for name, source in sources.items())
        return same and (own_card or there.card == sha256(self.card))

    def _sums(self, folder: str, known: dict[str, str]) -> dict[str, str]:
        """Digests of all files of a folder; of the large ones those that are known."""
        names = [*(name for name in exports.names_in(self.spec.names)), *known]
        return {name: known.get(name) or self._digest(f"{folder}/{name}") for name in dict.fromkeys(names)}

    def _digest(self, path: str) -> str:
        total, done = export_choice.plain_size(path), 0

        def each(block: bytes) -> None:
            nonlocal done
            done += len(block)
            self.tell(done, total, "B", f"reads {os.path.basename(path)}")

        try:
            return of_file(path, each=each, cold=path.endswith(LARGE))
        except OSError:
            return ""

    def _fill(
        self, choice: Choice, there: Exported | None, target: str, sources: dict[str, str], edited: list[str]
    ) -> Exported:
        new = staged.begin(self.spec.folder, choice.name)
        laid = [self._lay(source, f"{new}/{name}") for name, source in sources.items()]
        old = {**there.files, WEIGHTS: there.sha256} if there else {}
        known = {name: digest for name, digest in old.items() if same_content(f"{target}/{name}", f"{new}/{name}")}
        if choice.sha256 and same_content(choice.source, f"{new}/{WEIGHTS}"):
            known[WEIGHTS] = choice.sha256
        card = files.read(f"{target}/{CARD}", EDITABLE, follow=False) if CARD in edited else self.card.encode()
        files.write(f"{new}/{CARD}", card)
        large = {name: known.get(name) or self._digest(f"{new}/{name}") for name in sources if name.endswith(LARGE)}
        digests = {name: large.get(name) or self._digest(f"{new}/{name}") for name in sources}
        written = sha256(self.card) if CARD not in edited or not there else there.card
        kept = {name: there.files[name] for name in edited if there and name in there.files}
        own = {name: digest for name, digest in {**digests, **kept}.items() if name != WEIGHTS}
        weights = (digests[WEIGHTS], export_choice.plain_size(f"{new}/{WEIGHTS}"))
        made = Exported(choice.step, choice.kind, *weights, choice.base, written, own, all(laid), VERSION)
        files.save(f"{new}/{RECORD}", wire.to_dict(made))
        sums = {**digests, CARD: sha256(card), RECORD: self._digest(f"{new}/{RECORD}")}
        files.write(f"{new}/{SUMS}", exports.sums_text(sums).encode())
        return made

    def _lay(self, source: str, target: str) -> bool:
        """Puts a file in its place; False for a large one that had to be copied."""
        folders.make(os.path.dirname(target))
        large = source.endswith(LARGE)
        if large and share(source, target):
            return True
        size = os.stat(source).st_size
        if large:
            export_choice.need_space(self.spec, size + export_choice.SPARE)
        done = 0

        def each(block: bytes) -> None:
            nonlocal done
            done += len(block)
            self.tell(done, size, "B", f"copies {os.path.basename(target)}")

        files.copy(source, f"{target}.part", each)
        files.put(f"{target}.part", target, 0o644)
        return not large


def _answer(target: str, choice: Choice, made: Exported, edited: list[str]) -> dict[str, Any]:
    return {
        "name": choice.name,
        "path": target,
        "step": choice.step,
        "weights": choice.kind,
        "bytes": made.size,
        "shared": made.shared,
        "edited": edited,
    }
