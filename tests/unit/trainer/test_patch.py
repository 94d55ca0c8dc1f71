"""Patches as data: a known file there and back to the byte, any other file refused."""

from __future__ import annotations

import ast
import dataclasses

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch as patches
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch_table
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.patch import Edit, Patch
from hypothesis import given
from hypothesis import strategies as st

BEFORE, AFTER = b"a = 1\nb = 2\n", b"a = 1  # ours\nb = 3\n"
OLDER, OLDER_AFTER = b"a = 1\nb = 2\nc = 9\n", b"a = 1  # ours\nb = 3\nc = 9\n"
EDITS = (Edit("a = 1\n", "a = 1  # ours\n"), Edit("b = 2\n", "b = 3\n"))
PATCH = Patch("x.py", tuple((sha256(b), sha256(a)) for b, a in ((BEFORE, AFTER), (OLDER, OLDER_AFTER))), EDITS)


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (OLDER, OLDER_AFTER)], ids=["one", "an older one"])
def test_a_known_file_goes_there_and_back_to_the_byte(before: bytes, after: bytes) -> None:
    assert patches.state(PATCH, sha256(before)) == "pristine"
    assert patches.apply(PATCH, before) == after
    assert patches.state(PATCH, sha256(after)) == "patched"
    assert patches.apply(PATCH, after) == after
    assert patches.revert(PATCH, after) == before
    assert patches.revert(PATCH, before) == before


@given(st.binary(max_size=40))
def test_any_other_file_is_refused_and_taken_for_foreign(data: bytes) -> None:
    assert patches.state(PATCH, sha256(data)) == "unknown"
    with pytest.raises(FleetError, match=f"none of the files.*{sha256(data)}"):
        patches.apply(PATCH, data)
    assert patches.revert(PATCH, data) == data


def test_no_file_is_absent() -> None:
    assert patches.state(PATCH, "") == "absent"


BROKEN = {
    "a place that is not there": dataclasses.replace(PATCH, edits=(Edit("z = 1\n", "z = 2\n"),)),
    "a place that is there twice": dataclasses.replace(PATCH, edits=(Edit(" = ", " == "),)),
    "another outcome": dataclasses.replace(PATCH, edits=EDITS[:1]),
}


@pytest.mark.parametrize("patch", BROKEN.values(), ids=BROKEN)
def test_a_patch_that_does_not_make_the_known_file_makes_none(patch: Patch) -> None:
    with pytest.raises(FleetError, match=r"x\.py"):
        patches.apply(patch, BEFORE)


def test_only_the_patch_of_the_same_path_is_stripped() -> None:
    other = dataclasses.replace(PATCH, path="y.py")
    assert patches.stripped((other,), "x.py", AFTER) == AFTER
    assert patches.stripped((other, PATCH), "x.py", AFTER) == BEFORE


@pytest.mark.parametrize("patch", patch_table.PROFILES["frozen"], ids=lambda patch: patch.path)
def test_the_real_patches_say_whose_they_are(patch: Patch) -> None:
    """What they hold of upstream is one line a place; tests/upstream applies them to the real files."""
    for edit in patch.edits:
        assert "canvas-fleet" in edit.replacement
        assert edit.anchor.count("\n") == 1
    assert all(len(digest) == 64 for pair in patch.versions for digest in pair)


def test_the_helpers_are_python() -> None:
    names = [node.name for node in ast.parse(patch_table._HELPERS).body if hasattr(node, "name")]
    assert names == ["FleetStream", "fleet_frozen", "fleet_units", "fleet_ema_name"]
