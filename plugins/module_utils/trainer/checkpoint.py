"""Which checkpoints are whole. Reads a few hundred bytes per file, plus the headers of the safetensors files.

The trainer writes in place and leaves no mark when a save is finished, and it resumes from the highest number, whole
or not (MathCanvas cc48f16, train/fsdp_utils.py, train/train_utils.py get_latest_ckpt). So a save counts as whole when
its safetensors files have the length that their header declares, and all optimizer files, scheduler.pt and
data_status.pt are complete zip archives. There are two forms: `full` (also of the profile frozen) has model and EMA,
and an optimizer file for each shard; `lora` has the adapters alone, and one optimizer file for any number of ranks.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

from ..core.errors import FleetError
from ..system import folders, limits
from ..system.files import open_plain
from . import adapter, safetensors
from .adapter import Adapter

Form = Literal["full", "lora"]
MODEL_FILES = ("ema.safetensors", "model.safetensors")
FORMS: Mapping[Form, tuple[str, ...]] = {"full": MODEL_FILES, "lora": (adapter.FILE,)}
STATE_FILES = ("scheduler.pt", "data_status.pt")
OPTIMIZER = re.compile(r"optimizer\.(\d{5})-of-(\d{5})\.pt", re.ASCII)
# A file of a save, also one that is still written under another name.
OF_A_SAVE = re.compile(r"(ema|model|adapter)\.safetensors|(optimizer\.\d{5}-of-\d{5}|scheduler|data_status)\.pt")


def form_of(profile: str) -> Form | None:
    """The form of the checkpoints that a training_profile writes; None for one that is not chosen yet (auto)."""
    forms: Mapping[str, Form] = {"full": "full", "frozen": "full", "lora": "lora"}
    return forms.get(profile)


def shards_of(form: Form, shards: int) -> int:
    """Optimizer files of a save by a run with so many shards."""
    return 1 if form == "lora" and shards else shards


def is_of_a_save(name: str) -> bool:
    """True for the name of a finished file of a save."""
    return any(name in one for one in (*FORMS.values(), STATE_FILES)) or bool(OPTIMIZER.fullmatch(name))


@dataclass(frozen=True)
class Checkpoint:
    """One folder. `kind`: whole (a start can resume from it), model (its .pt files were deleted), incomplete.

    `adapter`: of the form lora, None where its file is not whole.
    """

    step: int
    path: str
    kind: str
    flaws: tuple[str, ...] = ()
    shards: int | None = None
    size: int = 0  # bytes
    form: Form = "full"
    adapter: Adapter | None = None

    @property
    def whole(self) -> bool:
        return self.kind == "whole"


@dataclass(frozen=True)
class Survey:
    """All of a checkpoint folder; checkpoints by rising step. `foreign`: folders whose name kills the next start.

    `others`: folders that are no checkpoints, and lie in no folder of checkpoints; nobody moves them.
    """

    checkpoints: tuple[Checkpoint, ...] = ()
    foreign: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def newest(self) -> Checkpoint | None:
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def newest_whole(self) -> Checkpoint | None:
        return next((one for one in reversed(self.checkpoints) if one.whole), None)


def survey(folder: str) -> Survey:
    """Survey of a checkpoint folder; empty without one."""
    try:
        names = folders.names(folder)
    except OSError:
        return Survey()
    found, foreign = [], []
    contents: dict[str, Sequence[str]] = {}
    for name in names:
        path = os.path.join(folder, name)
        if not os.path.isdir(path):
            continue  # the trainer looks at folders only
        contents[name] = _inside(path)
        try:
            step = int(name)  # exactly the trainer's own reading of a name
        except ValueError:
            foreign.append(name)
            continue
        found.append(examine(path, step))
    saves = {name for name, inside in contents.items() if any(map(OF_A_SAVE.search, inside))}
    among = any(name in saves for name in contents if name not in foreign)
    others = [name for name in contents if contents[name] and name not in saves and not (among and name in foreign)]
    return Survey(tuple(sorted(found, key=lambda one: (one.step, one.path))), tuple(foreign), tuple(others))


def _inside(folder: str) -> Sequence[str]:
    try:
        return folders.names(folder)
    except OSError:
        return ("unreadable",)


def examine(path: str, step: int) -> Checkpoint:
    """Judge one checkpoint folder."""
    try:
        names = folders.names(path)
    except OSError as error:
        return Checkpoint(step, path, "incomplete", (f"cannot be read: {error.strerror}",))
    form: Form = "lora" if any(name.startswith(adapter.FILE) for name in names) else "full"
    model = [flaw for name in FORMS[form] if (flaw := _flaw(path, name, safetensors_flaw))]
    found = None
    if form == "lora" and not model:
        found, model = _adapter(path)
        model += [f"{name} of another save beside {adapter.FILE}" for name in MODEL_FILES if name in names]
    shards, state = _shards(names)
    if form == "lora" and shards not in (None, 1):
        state.append(f"an optimizer of {shards} shards beside {adapter.FILE}")
    state += [flaw for name in (*_optimizers(names), *STATE_FILES) if (flaw := _flaw(path, name, zip_flaw))]
    size = sum(_size(os.path.join(path, name)) for name in names)
    if not model and not any(name.endswith(".pt") for name in names):
        what = "the adapters alone" if form == "lora" else "the model alone"
        return Checkpoint(step, path, "model", (f"it holds {what}, without .pt files",), None, size, form, found)
    flaws = (*model, *state)
    return Checkpoint(step, path, "incomplete" if flaws else "whole", flaws, shards, size, form, found)


def _adapter(folder: str) -> tuple[Adapter | None, list[str]]:
    """What the adapters' file says of itself, and its flaw."""
    try:
        return adapter.adapter_of(safetensors.from_file(os.path.join(folder, adapter.FILE))), []
    except (OSError, FleetError, ValueError) as error:
        return None, [f"{adapter.FILE}: {error}"]


def _optimizers(names: Sequence[str]) -> list[str]:
    return [name for name in names if OPTIMIZER.fullmatch(name)]


def _shards(names: Sequence[str]) -> tuple[int | None, list[str]]:
    """Number of optimizer shards, and their flaws."""
    matches = [match for name in names if (match := OPTIMIZER.fullmatch(name))]
    if not matches:
        return None, ["no optimizer file"]
    sizes = {int(match[2]) for match in matches}
    if len(sizes) > 1:
        return None, [f"optimizer files of different saves: of {' and of '.join(map(str, sorted(sizes)))} shards"]
    shards = sizes.pop()
    missing = sorted(set(range(shards)) - {int(match[1]) for match in matches})
    return shards, [f"optimizer.{index:05d}-of-{shards:05d}.pt is missing" for index in missing[:3]]


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _flaw(folder: str, name: str, judge: Callable[[BinaryIO, int], str]) -> str:
    """The flaw of one file, with its name; "" without one."""
    try:
        source, size = open_plain(os.path.join(folder, name))
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name}: {error.strerror}"
    with source:
        flaw = judge(source, size)
    return f"{name}: {flaw}" if flaw else ""


def safetensors_flaw(source: BinaryIO, size: int) -> str:
    """Why a safetensors file of `size` bytes is not whole; "" when it is.

    8 bytes of header length (little endian), the header (JSON), then the tensors up to the greatest offset it names.
    """
    if size < 8:
        return f"{size} bytes, too short for a header"
    (length,) = struct.unpack("<Q", source.read(8))
    if length > limits.HEADER_BYTES or 8 + length > size:
        return f"{size} bytes, cut within its header"
    try:
        expected = safetensors.header_of(source.read(length)).size
    except ValueError:
        return "its header cannot be read"
    return "" if size == expected else f"{size} bytes instead of {expected}"


def zip_flaw(source: BinaryIO, size: int) -> str:
    """Why a zip archive (what torch.save writes) is not complete; "" when it is. Reads less than 200 bytes.

    The directory is at the end of the file, so a cut file lacks its end record. The check that the directory begins
    where the record says, with an entry at byte 0, finds a file whose middle is missing.
    """
    if size < 22:
        return f"{size} bytes, too short for an archive"
    source.seek(size - 22)
    end = source.read(22)
    if end[:4] != b"PK\x05\x06" or end[20:] != b"\0\0":
        return f"{size} bytes, without the archive's end record (cut)"
    entries, length, begin = struct.unpack("<HII", end[10:20])
    stop = size - 22
    if entries == 0xFFFF or 0xFFFFFFFF in (length, begin):
        entries, length, begin, stop = _zip64(source, size)
        if stop < 0:
            return "its zip64 end record is missing"
    elif size >= 42:
        # torch writes the zip64 records for every archive, also where the short ones would do.
        wide = _zip64(source, size)
        stop = wide[3] if wide[3] >= 0 and wide[2] + wide[1] == wide[3] else stop
    if not entries or begin + length != stop:
        return "its directory does not lie where its end record says"
    return _signatures(source, begin)


def _zip64(source: BinaryIO, size: int) -> tuple[int, int, int, int]:
    """(entries, directory's length, its begin, where it stops) of the zip64 records; stop is -1 without them."""
    source.seek(size - 42)
    locator = source.read(20)
    if locator[:4] != b"PK\x06\x07":
        return 0, 0, 0, -1
    (at,) = struct.unpack("<Q", locator[8:16])
    if at + 56 > size - 42:
        return 0, 0, 0, -1
    source.seek(at)
    record = source.read(56)
    if record[:4] != b"PK\x06\x06":
        return 0, 0, 0, -1
    entries, length, begin = struct.unpack("<QQQ", record[32:56])
    return entries, length, begin, at


def _signatures(source: BinaryIO, directory: int) -> str:
    for offset, mark, what in ((0, b"PK\x03\x04", "first entry"), (directory, b"PK\x01\x02", "directory")):
        source.seek(offset)
        if source.read(4) != mark:
            return f"its {what} is not there"
    return ""
