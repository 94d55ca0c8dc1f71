"""The dataset's entry in data/dataset_info.py, a file that its users edit by hand.

    register(source, group, name, entry, text) -> source with our block
    unregister(source) -> source without it, every foreign byte as it was
    lookup(source, group, name) -> Registered

The block is put right behind the opening brace of its dictionary: there it needs no comma of its neighbours, so no
byte outside the block changes. Positions come from Python's own parser, never from indentation.
Sources are bytes: tabs, CRLF, a byte order mark and a missing last newline stay as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.errors import FleetError

KEYS = ("data_dir", "num_files", "parquet_info_path", "num_total_samples")
ROWS = "@rows@"  # in a block, for the number of samples: the host alone knows it
_BOM = b"\xef\xbb\xbf"
_BREAK = re.compile(rb"\r\n|\r|\n")
_BEGIN, _END, _OWN_BREAK = b"# canvas-fleet begin", b"# canvas-fleet end", b" (with this line break)"
_BLOCK = re.compile(
    rb"(?:\r\n|\r|\n)[ \t]*" + _BEGIN + rb"[^\r\n]*(?:\r\n|\r|\n)(?P<body>.*?)"
    rb"[ \t]*" + _END + rb"(?:" + re.escape(_OWN_BREAK) + rb"(?:\r\n|\r|\n))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class Registered:
    """How a dataset stands in the file.

    state: absent, ours (our block), hand (right form, written by hand), dialect (a form that the loader cannot read).
    line: 1-based line of the entry, 0 when absent. entry: its value as far as it is literal.
    """

    state: str
    line: int = 0
    entry: Mapping[str, Any] | None = None


def register(source: bytes, group: str, name: str, entry: Mapping[str, Any], text: str) -> bytes:
    """Source with DATASET_INFO[group][name] = entry in our block `text`; an equal entry made by hand is left alone.

    Raises FleetError when the file cannot be parsed, holds no DATASET_INFO, or holds another entry of this name
    made by hand (Python would take the later of the two).
    """
    clean = unregister(source)
    by_hand = lookup(clean, group, name)
    if by_hand.state != "absent":
        _refuse_other(by_hand, group, name, entry)
        return clean
    info = _dataset_info(clean)
    inner = _member(info, group)
    if inner is not None and not isinstance(inner, ast.Dict):
        raise _error(f"DATASET_INFO[{group!r}] is not written as a dictionary", inner.lineno)
    lines = text.replace(ROWS, str(entry["num_total_samples"])).rstrip("\n").split("\n")
    patched = _insert(clean, inner or info, lines if inner else _with_group(lines, group))
    seen = lookup(patched, group, name)
    if seen.entry != dict(entry):
        raise _error("the patched file would lack the wanted entry, so it was not written", seen.line)
    return patched


def unregister(source: bytes) -> bytes:
    """Source without our blocks; register() of an untouched file is undone to the byte."""
    clean = _BLOCK.sub(b"", source)
    for marker in (_BEGIN, _END):
        at = clean.find(marker)
        if at >= 0:
            line = len(_BREAK.findall(clean[:at])) + 1
            raise _error("one of the two canvas-fleet markers is missing, so the block has no clear end", line)
    return clean


def block(source: bytes) -> bytes:
    """Our block as it stands in the file, markers and all; empty when there is none."""
    return b"".join(found.group(0) for found in _BLOCK.finditer(source))


def move(old: bytes, new: bytes, group: str, name: str) -> bytes:
    """`new` with our block of `old`, if there is one. Raises FleetError as register() does."""
    have = lookup(old, group, name)
    if have.state != "ours" or not have.entry:
        return new
    begin, *entry, end = block(old).decode().strip("\r\n").splitlines()
    if entry[0] == _opening(group):
        entry = [line[4:] for line in entry[1:-1]]
    text = "\n".join([begin, *entry, end.replace(_OWN_BREAK.decode(), "")])
    return register(new, group, name, have.entry, text)


def lookup(source: bytes, group: str, name: str) -> Registered:
    """State of the dataset in the file. Raises FleetError when the file cannot be parsed or has no DATASET_INFO."""
    found: ast.expr | None = None
    for node in _entries(source, group, name):
        found = node  # the later one wins, as in Python
    if found is None:
        return Registered("absent")
    value = _literal(found)
    if isinstance(value, dict) and all(key in value for key in KEYS):
        ours = any(start < found.lineno < end for start, end in _block_lines(source))
        return Registered("ours" if ours else "hand", found.lineno, value)
    return Registered("dialect", found.lineno, value if isinstance(value, dict) else None)


def groups(source: bytes) -> list[str] | None:
    """The keys of DATASET_REGISTRY, the groups that the loader has a class for; None when it is not a literal."""
    node = _assigned(_parse(source), "DATASET_REGISTRY")
    if not isinstance(node, ast.Dict):
        return None
    return [str(key.value) for key in node.keys if isinstance(key, ast.Constant)]


def same(entry: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """True when both make the loader read the same file (it never uses num_total_samples for this kind of group)."""
    return entry is not None and all(entry.get(key) == wanted[key] for key in KEYS if key != "num_total_samples")


def _refuse_other(by_hand: Registered, group: str, name: str, entry: Mapping[str, Any]) -> None:
    if by_hand.state == "hand" and same(by_hand.entry, entry):
        return
    what = "is written in a form that the loader cannot read" if by_hand.state == "dialect" else "says something else"
    raise FleetError(
        f"dataset_info.py, line {by_hand.line}: the entry {group}/{name} made by hand {what}",
        variable="dataset_name",
        found=str(dict(by_hand.entry)) if by_hand.entry is not None else "no literal dictionary",
        expected=str(dict(entry)),
        remedy="remove the entry made by hand, or choose another dataset_name",
    )


def _parse(source: bytes) -> ast.Module:
    try:
        # As text, so that columns count UTF-8 bytes whatever the file's own coding line says.
        return ast.parse((source[len(_BOM) :] if source.startswith(_BOM) else source).decode())
    except (SyntaxError, ValueError) as error:
        raise _error(f"Python cannot parse it ({error})", getattr(error, "lineno", None) or 0) from error


def _error(what: str, line: int) -> FleetError:
    return FleetError(
        f"dataset_info.py, line {line}: {what}",
        variable="canvas_code_dir",
        remedy="mend the file (git checkout of it in the code folder), then converge again",
    )


def _assigned(module: ast.Module, name: str) -> ast.expr | None:
    value: ast.expr | None = None
    for node in module.body:
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = node.value
    return value


def _dataset_info(source: bytes) -> ast.Dict:
    node = _assigned(_parse(source), "DATASET_INFO")
    if not isinstance(node, ast.Dict):
        raise _error("no DATASET_INFO at top level that is a dictionary", getattr(node, "lineno", 0))
    return node


def _member(node: ast.Dict, name: str) -> ast.expr | None:
    found = None
    for key, value in zip(node.keys, node.values):
        if isinstance(key, ast.Constant) and key.value == name:
            found = value
    return found


def _entries(source: bytes, group: str, name: str) -> Iterator[ast.expr]:
    """Every place that gives DATASET_INFO[group][name] a value: in the dictionary, or by assignment below it."""
    inner = _member(_dataset_info(source), group)
    if isinstance(inner, ast.Dict):
        value = _member(inner, name)
        if value is not None:
            yield value
    for node in _parse(source).body:
        if isinstance(node, ast.Assign) and any(_subscripts(target) == [group, name] for target in node.targets):
            yield node.value


def _subscripts(node: ast.expr) -> list[Any] | None:
    path: list[Any] = []
    while isinstance(node, ast.Subscript):
        index = node.slice
        path.insert(0, index.value if isinstance(index, ast.Constant) else None)
        node = node.value
    return path if isinstance(node, ast.Name) and node.id == "DATASET_INFO" else None


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _line_starts(body: bytes) -> list[int]:
    return [0, *(found.end() for found in _BREAK.finditer(body))]


def _block_lines(source: bytes) -> list[tuple[int, int]]:
    spans = [found.span() for found in _BLOCK.finditer(source)]
    return [(len(_BREAK.findall(source[:a])) + 1, len(_BREAK.findall(source[:b])) + 2) for a, b in spans]


def _insert(source: bytes, node: ast.Dict, lines: list[str]) -> bytes:
    """Our lines behind the opening brace of `node`, in the file's own line ends."""
    shift = len(_BOM) if source.startswith(_BOM) else 0
    at = shift + _line_starts(source[shift:])[node.lineno - 1] + node.col_offset + 1
    own = _BREAK.search(source)
    newline = own.group(0) if own else b"\n"
    text = newline + newline.join(line.encode() for line in lines)
    if source[at : at + 1] not in (b"\r", b"\n"):
        text += _OWN_BREAK + newline
    return source[:at] + text + source[at:]


def _opening(group: str) -> str:
    return f"        {group!r}: {{"


def _with_group(lines: list[str], group: str) -> list[str]:
    """The lines of a block for a file that lacks the group."""
    begin, *entry, end = lines
    return [begin, _opening(group), *(f"    {line}" for line in entry), "        },", end]
