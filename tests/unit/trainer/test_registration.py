"""The registration keeps every byte that it does not own, and can be taken back."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import registration
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.unit.support.run_texts import register

GROUP, NAME = "interleave_reasoning", "blockmoving_train"
ENTRY = {"data_dir": "/srv/train", "num_files": 1, "parquet_info_path": "/srv/info.json", "num_total_samples": 613}


def value_of(source: bytes, group: str = GROUP, name: str = NAME) -> Any:
    """What Python itself makes of the file."""
    space: dict[str, Any] = {}
    exec(compile(source, "dataset_info.py", "exec"), space)  # noqa: S102
    return space["DATASET_INFO"][group][name]


BODIES = {
    "an empty dictionary": "DATASET_INFO = {}",
    "an empty group on one line": "DATASET_INFO = {'interleave_reasoning': {}}\n",
    "a group without trailing comma": "DATASET_INFO = {'interleave_reasoning': {'a': {'data_dir': 'x'}}}",
    "tabs and spaces": (
        "DATASET_INFO = {\n\t'interleave_reasoning':{\n        'a': {\n\t\t\t'data_dir': 'x',\n\t\t},\n    },\n}"
    ),
    "a comment behind the brace": "DATASET_INFO = {\n 'interleave_reasoning': { # mine\n 'a': {},\n},}\n",
    "no such group": "DATASET_INFO = {\n    'vlm_sft': {\n    },\n}\n",
    "Windows line ends": "DATASET_INFO = {\r\n  'interleave_reasoning': {\r\n  'a': {}\r\n },\r\n}\r\n",
    "old Mac line ends": "DATASET_INFO = {\r 'interleave_reasoning': {\r 'a': {},\r },\r}\r",
    "Chinese before the brace": "X = '数据'; DATASET_INFO = {'组': {}, 'interleave_reasoning': {'é': {}}}",
    "a byte order mark": "\ufeffDATASET_INFO = {'interleave_reasoning': {}}",
    "an annotation": "DATASET_INFO: dict = {'interleave_reasoning': {'a': 1,},}",
    "parentheses": "DATASET_INFO = ({'interleave_reasoning': ({'a': 1})})",
    "a line continued": "DATASET_INFO = \\\n  {'interleave_reasoning': {\\\n'a': 1}}\n",
    "a spread and a call": "b = {}\nDATASET_INFO = {**b, 'x': dict(a=1), 'interleave_reasoning': {**b}}",
    "the group twice": "DATASET_INFO = {'interleave_reasoning': {'a': 1}, 'interleave_reasoning': {'b': 1}}",
    "assigned twice": "DATASET_INFO = {}\nDATASET_INFO = {'interleave_reasoning': {}}",
}


@pytest.mark.parametrize("text", BODIES.values(), ids=BODIES.keys())
def test_registers_and_takes_back_to_the_byte(text: str) -> None:
    source = text.encode()
    patched = register(source, GROUP, NAME, ENTRY)
    assert value_of(patched) == ENTRY
    assert registration.unregister(patched) == source
    assert register(patched, GROUP, NAME, ENTRY) == patched
    assert registration.lookup(patched, GROUP, NAME).state == "ours"


@pytest.mark.parametrize("name", ["an empty group on one line", "tabs and spaces"])
def test_no_line_is_added_but_the_block(name: str) -> None:
    """Where the file has no line break behind the brace, the block brings one, and says so."""
    source = BODIES[name].encode()
    patched = register(source, GROUP, NAME, ENTRY)
    block = patched[patched.index(b"# canvas-fleet begin") : patched.index(b"# canvas-fleet end")]
    missing = name != "tabs and spaces"
    assert (b"(with this line break)" in patched) is missing
    assert patched.count(b"\n") == source.count(b"\n") + block.count(b"\n") + 1 + missing


def test_an_update_changes_only_the_block() -> None:
    source = BODIES["tabs and spaces"].encode()
    newer = {**ENTRY, "num_total_samples": 700}
    patched = register(register(source, GROUP, NAME, ENTRY), GROUP, NAME, newer)
    assert value_of(patched) == newer
    assert registration.unregister(patched) == source


def test_a_group_that_a_person_adds_later_takes_the_entry_in() -> None:
    """Our own group would be hidden by theirs: Python takes the later of two equal keys."""
    patched = register(b"DATASET_INFO = {}", GROUP, NAME, ENTRY)
    theirs = patched.replace(b"}", b"}", 1)[:-1] + b"'interleave_reasoning': {'a': 1}}"
    assert value_of(register(theirs, GROUP, NAME, ENTRY)) == ENTRY


def hand(value: object) -> bytes:
    return f"DATASET_INFO = {{\n'{GROUP}': {{\n'{NAME}': {value!r},\n}}}}".encode()


def test_an_entry_on_the_line_above_our_block_is_not_ours() -> None:
    patched = register(b"DATASET_INFO = {'interleave_reasoning': {}}\n", GROUP, "another", ENTRY)
    brace = b"'interleave_reasoning': {"
    edited = patched.replace(brace, brace + f"'{NAME}': {ENTRY!r},".encode())
    assert registration.lookup(edited, GROUP, "another").state == "ours"
    assert registration.lookup(edited, GROUP, NAME).state == "hand"


def test_an_equal_entry_made_by_hand_is_left_alone() -> None:
    assert register(hand(ENTRY), GROUP, NAME, ENTRY) == hand(ENTRY)
    assert registration.lookup(hand(ENTRY), GROUP, NAME).state == "hand"


REFUSED = {
    "the guide's form": (hand({"path": "x", "parquet": "y", "parquet_info": "z"}), "line 3"),
    "another folder by hand": (hand({**ENTRY, "data_dir": "/other"}), "line 3"),
    "an entry assigned below": (f"DATASET_INFO = {{}}\nDATASET_INFO['{GROUP}']['{NAME}'] = {{}}".encode(), "line 2"),
    "an entry that is a call": (f"DATASET_INFO = {{'{GROUP}': {{'{NAME}': dict(a=1)}}}}".encode(), "line 1"),
    "no DATASET_INFO": (b"X = 1", "no DATASET_INFO"),
    "a DATASET_INFO that is a call": (b"DATASET_INFO = dict()", "no DATASET_INFO"),
    "a group that is a name": (f"g = {{}}\nDATASET_INFO = {{'{GROUP}': g}}".encode(), "line 2"),
    "a file that does not parse": (b"DATASET_INFO = {\n'a': [}", "line 2"),
    "a file that is not UTF-8": (b"DATASET_INFO = {}  # \xff", "cannot parse"),
    "half of our markers": (b"DATASET_INFO = {\n# canvas-fleet begin\n}", "line 2"),
}


@pytest.mark.parametrize(("source", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_with_the_line(source: bytes, told: str) -> None:
    with pytest.raises(FleetError, match=told):
        register(source, GROUP, NAME, ENTRY)


def test_reads_the_groups_that_the_loader_knows() -> None:
    assert registration.groups(b"DATASET_REGISTRY = {'a': 1, \"b\": 2}\nDATASET_INFO = {}") == ["a", "b"]
    assert registration.groups(b"DATASET_INFO = {}") is None


# Irregular files as people leave them: any quotes, indentation, line ends, comments, trailing commas, order.
blanks = st.sampled_from(["", " ", "\t", "    ", "\n", "\n\t\t", " # note, it's {odd}\n", "\n\n  "])
keys = st.sampled_from(["a", "mathcanvas_instruct", "数据", "it's", GROUP, "vlm_sft"])
values = st.sampled_from(["1", "'x'", "{}", "{'data_dir': 'x',}", "dict(a=1)", "[1,\n2]", '"""\n{ # }\n"""', "None"])


@st.composite
def dictionaries(draw: st.DrawFn, inner: st.SearchStrategy[str], names: st.SearchStrategy[str] = keys) -> str:
    items = draw(st.lists(st.tuples(names, inner), max_size=4, unique_by=lambda item: item[0]))
    parts = [f"{draw(blanks)}{key!r}{draw(blanks)}:{draw(blanks)}{value}{draw(blanks)}" for key, value in items]
    tail = draw(st.sampled_from(["", ","])) if parts else ""
    return "{" + draw(blanks) + ",".join(parts) + tail + draw(blanks) + "}"


@st.composite
def sources(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(["", "# 数据\n", "import os\n\n", "'''doc'''\nX = {1: {}}\n"]))
    text += "DATASET_INFO" + draw(st.sampled_from([" = ", "=", ": dict = "]))
    text += draw(dictionaries(dictionaries(values)))
    text += draw(st.sampled_from(["", "\n", "\n\n# end", "\nY = 2\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))).encode()


@bounds(deadline=None)
@given(source=sources(), group=keys)
def test_law_register_then_unregister_is_the_identity(source: bytes, group: str) -> None:
    patched = register(source, group, NAME, ENTRY)
    node = registration.lookup(patched, group, NAME)
    assert node.entry == ENTRY
    assert node.state == "ours"
    assert registration.unregister(patched) == source
    assert register(patched, group, NAME, ENTRY) == patched
    ast.parse(patched.decode())


@bounds(deadline=None)
@given(source=sources(), path=st.text(max_size=20), rows=st.integers(0, 10**9))
def test_law_any_path_survives_the_quoting(source: bytes, path: str, rows: int) -> None:
    entry = {**ENTRY, "data_dir": path.encode("utf-8", "replace").decode(), "num_total_samples": rows}
    assert registration.lookup(register(source, GROUP, NAME, entry), GROUP, NAME).entry == entry


@pytest.mark.parametrize("old", ["no such group", "tabs and spaces", "Windows line ends", "an empty dictionary"])
@pytest.mark.parametrize("new", ["no such group", "tabs and spaces", "old Mac line ends", "an empty group on one line"])
def test_the_block_moves_to_another_file_whether_or_not_that_has_the_group(old: str, new: str) -> None:
    source = register(BODIES[old].encode(), GROUP, NAME, ENTRY)
    moved = registration.move(source, BODIES[new].encode(), GROUP, NAME)
    assert moved == register(BODIES[new].encode(), GROUP, NAME, ENTRY)


def test_a_file_without_an_entry_of_ours_leaves_the_other_as_it_is() -> None:
    assert registration.move(hand(ENTRY), b"DATASET_INFO = {}", GROUP, NAME) == b"DATASET_INFO = {}"
