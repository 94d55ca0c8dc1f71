"""Which weights an evaluation takes, and each reason against one, with a near miss that is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.choice import choose, file_of, room
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.found import Found, Save
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation.spec import Spec

CK = "/r/checkpoints"
SPEC = Spec(mode="loss", folder="/r/evaluation", code="/c", commit="c", base="/m", checkpoints=CK, kept="/r/kept",
            results="/r", parquet="/d/test.parquet", ema=0.95)  # fmt: skip
BOTH = ("ema.safetensors", "model.safetensors")


def save(step: int, form: Any = "full", files: tuple[str, ...] | None = None, **changes: Any) -> Save:
    names = {"full": BOTH, "lora": ("adapter.safetensors",), "merged": ("ema.safetensors",)}[form]
    folder = "/r/models" if form == "merged" else CK
    return Save(step, f"{folder}/{step:07d}", form, names if files is None else files, **changes)


def found(*saves: Save, **changes: Any) -> Found:
    return replace(Found(test_bytes=7_000_000, saves=saves, free=10**10, rows=69, lettered=69), **changes)


RUN = found(save(20), save(40), save(60))


@pytest.mark.parametrize(
    ("step", "names"),
    [
        pytest.param("newest", ["base", "0000060"], id="the newest"),
        pytest.param("all", ["base", "0000020", "0000040", "0000060"], id="all"),
        pytest.param("40", ["base", "0000040"], id="a step"),
        pytest.param("0000040", ["base", "0000040"], id="a step as its folder is named"),
        pytest.param("base", ["base"], id="the base"),
    ],
)
def test_the_step_says_what_is_evaluated(step: str, names: list[str]) -> None:
    chosen, findings = choose(RUN, replace(SPEC, step=step))
    assert ([one.name for one in chosen], findings) == (names, ())


def test_a_base_that_is_not_wanted_is_left_out_but_where_it_is_all_that_was_asked_for() -> None:
    alone = replace(SPEC, compare_base=False)
    assert [one.name for one in choose(RUN, alone)[0]] == ["0000060"]
    assert [one.name for one in choose(RUN, replace(alone, step="base"))[0]] == ["base"]


def test_adapters_are_read_beside_the_base_and_a_merged_model_is_named_as_one() -> None:
    lora = found(save(60, "lora"), save(60, "merged"))
    (_base, newest), _none = choose(lora, SPEC)
    assert (newest.path, newest.adapter) == ("/m/ema.safetensors", f"{CK}/0000060/adapter.safetensors")
    (_base, merged), _none = choose(lora, replace(SPEC, step="merged"))
    assert (merged.name, merged.path, merged.adapter) == ("0000060-merged", "/r/models/0000060/ema.safetensors", "")


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        pytest.param({}, "ema.safetensors", id="the average"),
        pytest.param({"ema": 0.9999}, "model.safetensors", id="an average that is still the base"),
        pytest.param({"ema": 0.0}, "model.safetensors", id="no average"),
        pytest.param({"ema": 0.9999, "weights": "ema"}, "ema.safetensors", id="asked for by name"),
        pytest.param({"weights": "model"}, "model.safetensors", id="the model, asked for by name"),
    ],
)
def test_the_file_is_the_one_that_the_results_name(changes: dict[str, Any], name: str) -> None:
    assert file_of(save(60), replace(SPEC, **changes)) == name


OTHER = "ema.safetensors has 3 weights that the base lacks"


@pytest.mark.parametrize(
    ("seen", "changes", "code"),
    [
        pytest.param(replace(RUN, test_bytes=None), {}, "EVALUATION_TEST_MISSING", id="no test file"),
        pytest.param(replace(RUN, test_bytes=0), {}, "", id="a test file, however small"),
        pytest.param(replace(RUN, lettered=0), {"mode": "answers"}, "EVALUATION_NO_LETTERS", id="no letters"),
        pytest.param(replace(RUN, lettered=1), {"mode": "answers"}, "", id="one letter"),
        pytest.param(replace(RUN, lettered=0), {}, "", id="no letters, losses alone"),
        pytest.param(RUN, {"step": "41"}, "EVALUATION_STEP_UNKNOWN", id="an unknown step"),
        pytest.param(RUN, {"step": "-1"}, "EVALUATION_STEP_UNKNOWN", id="no step at all"),
        pytest.param(found(), {}, "EVALUATION_STEP_UNKNOWN", id="no checkpoint yet"),
        pytest.param(found(), {"step": "base"}, "", id="no checkpoint, and none is wanted"),
        pytest.param(RUN, {"step": "merged"}, "EVALUATION_NOT_MERGED", id="nothing merged"),
        pytest.param(found(save(60, "lora"), save(60, "merged")), {"step": "merged"}, "", id="merged"),
        pytest.param(found(save(60, files=("model.safetensors",), flaws=("ema.safetensors: 9 bytes instead of 99",))),
                     {"step": "60"}, "EVALUATION_CHECKPOINT_BROKEN", id="a cut save"),
        pytest.param(found(save(60, files=("ema.safetensors",), flaws=("model.safetensors: cut",))), {"step": "60"}, "",
                     id="a save whose other file is cut"),
        pytest.param(found(save(60, other=OTHER)), {"step": "60"}, "EVALUATION_CHECKPOINT_OTHER", id="another model's"),
        pytest.param(found(save(40), save(60, other=OTHER)), {}, "", id="another model's, where a sound one is there"),
        pytest.param(replace(RUN, base_flaw="it is not there"), {}, "EVALUATION_BASE_BROKEN", id="base"),
        pytest.param(replace(RUN, free=10**8), {"mode": "answers"}, "EVALUATION_DISK_SHORT", id="a full disk"),
        pytest.param(replace(RUN, free=10**8), {}, "", id="losses need little room"),
        pytest.param(replace(RUN, free=10**8), {"mode": "answers", "rows": 2}, "", id="room for a few rows"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_one_finding(seen: Found, changes: dict[str, Any], code: str) -> None:
    _chosen, findings = choose(seen, replace(SPEC, **changes))
    assert [one.code for one in findings] == ([code] if code else [])
    assert all(one.refuses for one in findings)


def test_an_unknown_step_names_those_that_are_there() -> None:
    (one,) = choose(RUN, replace(SPEC, step="41"))[1]
    assert (one.expected, one.variable) == ("one of 20, 40, 60, or newest, base, all, merged", "evaluation_step")


def test_a_newest_save_that_was_cut_gives_way_to_the_one_before() -> None:
    chosen, findings = choose(found(save(40), save(60, files=(), flaws=("ema.safetensors: cut",))), SPEC)
    assert ([one.name for one in chosen], findings) == (["base", "0000040"], ())


def test_the_room_grows_with_rows_and_subjects() -> None:
    answers = replace(SPEC, mode="answers")
    assert room(RUN, answers, 2) - room(RUN, answers, 1) == 69 * 4 * (1 << 20)
    assert room(RUN, replace(answers, rows=500), 2) == room(RUN, answers, 2), "there are no more rows than the file has"
