"""Patches as data: a known file there and back to the byte, any other file refused."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import (
    known,
    patch_frozen,
    patch_lean_text,
    patch_lora_text,
    patch_no_ema,
    patch_optimizer,
    patch_streamed_text,
    patch_table,
)
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import patch as patches
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.patch import Edit, Patch
from hypothesis import given
from hypothesis import strategies as st

from tools import patch_digests

BEFORE, AFTER = b"a = 1\nb = 2\n", b"a = 1  # ours\nb = 3\n"
OLDER, OLDER_AFTER = b"a = 1\nb = 2\nc = 9\n", b"a = 1  # ours\nb = 3\nc = 9\n"
EDITS = (Edit("a = 1\n", "a = 1  # ours\n"), Edit("b = 2\n", "b = 3\n"))
PATCH = Patch(
    "frozen", "x.py", tuple((sha256(b), sha256(a)) for b, a in ((BEFORE, AFTER), (OLDER, OLDER_AFTER))), EDITS
)


@pytest.mark.parametrize(("before", "after"), [(BEFORE, AFTER), (OLDER, OLDER_AFTER)], ids=["one", "an older one"])
def test_a_known_file_goes_there_and_back_to_the_byte(before: bytes, after: bytes) -> None:
    assert patches.standing((PATCH,), sha256(before)) == ((), sha256(before))
    assert patches.apply(PATCH, before) == after
    assert patches.standing((PATCH,), sha256(after)) == ((PATCH,), sha256(before))
    assert patches.apply(PATCH, after) == after
    assert patches.revert(PATCH, after) == before
    assert patches.revert(PATCH, before) == before


@given(st.binary(max_size=40))
def test_any_other_file_is_refused_and_taken_for_foreign(data: bytes) -> None:
    assert patches.standing((PATCH,), sha256(data)) == ((), sha256(data))
    assert not patches.knows((PATCH,), sha256(data))
    with pytest.raises(FleetError, match=f"none of the files.*{sha256(data)}"):
        patches.apply(PATCH, data)
    assert patches.revert(PATCH, data) == data


UPON = ((BEFORE, b"z = 1\nb = 2\n"), (AFTER, b"z = 1  # ours\nb = 3\n"))
SECOND = Patch("lean", "x.py", tuple((sha256(b), sha256(a)) for b, a in UPON), (Edit("a = 1", "z = 1"),))
STACKS = {
    "nothing": (),
    "the first": (PATCH,),
    "the second on the plain file": (SECOND,),
    "both": (PATCH, SECOND),
}


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
def test_patches_of_one_file_lie_on_each_other_and_come_off_together(stack: tuple[Patch, ...]) -> None:
    assert patches.knows(stack, sha256(BEFORE))
    data = BEFORE
    for patch in stack:
        data = patches.apply(patch, data)
    assert patches.standing((PATCH, SECOND), sha256(data)) == (stack, sha256(BEFORE))
    assert patches.stripped((PATCH, SECOND), data) == BEFORE


@pytest.mark.parametrize(
    ("stack", "digest"),
    [
        pytest.param((PATCH,), "", id="no file"),
        pytest.param((SECOND, PATCH), sha256(BEFORE), id="another order"),
        pytest.param((PATCH, SECOND), sha256(OLDER), id="a version that the second does not know"),
    ],
)
def test_patches_that_cannot_lie_there_are_told_before_anything_is_written(
    stack: tuple[Patch, ...], digest: str
) -> None:
    assert not patches.knows(stack, digest)


BROKEN = {
    "a place that is not there": dataclasses.replace(PATCH, edits=(Edit("z = 1\n", "z = 2\n"),)),
    "a place that is there twice": dataclasses.replace(PATCH, edits=(Edit(" = ", " == "),)),
    "another outcome": dataclasses.replace(PATCH, edits=EDITS[:1]),
}


@pytest.mark.parametrize("patch", BROKEN.values(), ids=BROKEN)
def test_a_patch_that_does_not_make_the_known_file_makes_none(patch: Patch) -> None:
    with pytest.raises(FleetError, match=r"x\.py"):
        patches.apply(patch, BEFORE)


ALL = patch_table.known()
NAMES = [f"{patch.setting} {patch.path} {number}" for number, patch in enumerate(ALL)]


@pytest.mark.parametrize("patch", ALL, ids=NAMES)
def test_the_real_patches_say_whose_they_are(patch: Patch) -> None:
    """What they hold of upstream is one line a place; tests/upstream applies them to the real files."""
    for edit in patch.edits:
        assert "canvas-fleet" in edit.replacement
        assert edit.anchor.count("\n") == 1
    assert all(len(digest) == 64 for pair in patch.versions for digest in pair)


@pytest.mark.parametrize("wanted", patch_digests.settings(), ids=lambda told: " ".join(map(str, told.values())))
def test_what_the_settings_want_can_lie_on_every_known_version(wanted: dict[str, Any]) -> None:
    for path in patch_table.paths():
        stack = patch_table.wanted(wanted, path)
        for digest in known.FILES[path].digests:
            assert patches.knows(stack, digest)
            top = digest
            for patch in stack:
                top = patch.after[top]
            assert patches.standing(patch_table.known(path), top) == (stack, digest)


@pytest.mark.parametrize("wanted", patch_digests.settings(), ids=lambda told: " ".join(map(str, told.values())))
def test_no_patch_imports_what_another_one_of_the_file_does(wanted: dict[str, Any]) -> None:
    for path in patch_table.paths():
        edits = [edit for patch in patch_table.wanted(wanted, path) for edit in patch.edits]
        lines = [line for edit in edits for line in edit.replacement.splitlines()]
        ours = [line for line in lines if line.startswith(("import ", "from ")) and line.endswith("# canvas-fleet")]
        assert len(ours) == len(set(ours))


def names(**told: Any) -> str:
    """Patches of the trainer's file that the settings want."""
    return " ".join(patch.name for patch in patch_table.wanted(told, "train/pretrain_unified_navit.py"))


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param({}, "", id="upstream's"),
        pytest.param({"run_config_ema": 0.995}, "", id="an EMA"),
        pytest.param({"run_config_ema": "0"}, "no_ema", id="full without EMA"),
        pytest.param({"run_config_ema": "none"}, "", id="an EMA that is no number"),
        pytest.param({"run_config_optimizer": "adamw"}, "", id="upstream's optimizer"),
        pytest.param({"run_config_optimizer": "adamw_8bit"}, "optimizer", id="another optimizer"),
        pytest.param({"training_profile": "frozen", "run_config_ema": 0.9}, "no_ema frozen", id="frozen"),
        pytest.param(
            {"training_profile": "lora", "run_config_optimizer": "adamw_fused", "canvas_code_lean": True},
            "no_ema frozen lora optimizer lean",
            id="everything",
        ),
        pytest.param(dict(patch_table.NONE), "", id="what takes all back"),
    ],
)
def test_each_setting_wants_its_own_patches(told: dict[str, Any], wanted: str) -> None:
    assert names(**told) == wanted


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(patch_frozen.HELPERS, ["FleetStream", "fleet_frozen", "fleet_units"], id="frozen"),
        pytest.param(patch_streamed_text.HELPERS, ["fleet_room", "fleet_streamed"], id="streamed, lean"),
        pytest.param(patch_no_ema.HELPERS, ["fleet_ema_name"], id="without EMA"),
        pytest.param(patch_lora_text.HELPERS, ["FleetAdapter", "fleet_lora", "fleet_lora_save"], id="lora"),
        pytest.param(patch_optimizer.HELPERS, ["fleet_adamw"], id="optimizer"),
        pytest.param(
            patch_lean_text.HELPERS, ["fleet_builder", "fleet_on_meta", "FleetFill", "fleet_state"], id="lean"
        ),
    ],
)
def test_the_helpers_are_python_that_the_linter_passes(text: str, names: list[str]) -> None:
    found = [node.name for node in ast.parse(text).body if hasattr(node, "name")]
    assert set(names) <= set(found)
    assert all(name.lower().startswith("fleet") for name in found)
    argv = [sys.executable, "-m", "ruff", "check", "--isolated", "--select=E,W,B,PLE,PLW", "--line-length=120"]
    ignored = "--ignore=B007,B905,E402"  # Python 3.10 and upstream's habits
    done = subprocess.run([*argv, ignored, "-"], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
