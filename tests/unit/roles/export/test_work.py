"""The export as long work, and what a model card says: from a host's settings to the folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.action import export_card
from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import folder as evaluations
from ansible_collections.canvas.fleet.plugins.module_utils.evaluation import wire as evaluation
from ansible_collections.canvas.fleet.plugins.module_utils.roles.export import card, observe, work
from ansible_collections.canvas.fleet.plugins.module_utils.work import entry
from ansible_collections.canvas.fleet.plugins.plugin_utils import answers
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS, spec_of

from tests.unit.support import actions
from tests.unit.support.exported import NAMES, Run
from tests.unit.support.run_settings import settings

COMMIT, DIGEST = "c" * 40, "d" * 64
LOSSES = "step,time,ce,mse,steps_per_second\n0,,2.5,0.5,1\n40,,0.25,0.125,1\n60,,9,9,1\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path)
    (made.out / "losses.csv").write_text(LOSSES)
    return made


def settings_of(run: Run, **change: Any) -> dict[str, Any]:
    return {
        **settings(), "training_results_dir": str(run.out), "training_checkpoint_dir": f"{run.place.checkpoints}/",
        "evaluation_dir": f"{run.out}/evaluation",
        "training_kept_dir": "", "training_run": "atlas", "training_profile": "full", "run_config_ema": 0.9,
        "weights_dir": str(run.root / "model"), "weights_files": list(NAMES), "weights_repo": "owner/base",
        "weights_revision": COMMIT, "canvas_code_commit": COMMIT, "canvas_code_repo": "https://example.org/code",
        "export_step": "newest", "export_weights": "auto", "export_license": "apache-2.0", **change,
    }  # fmt: skip


def card_of(
    run: Run, planned: dict[str, Any] | None = None, lies: dict[str, Any] | None = None, **change: Any
) -> dict[str, Any]:
    """The answer of the action on the controller to what the host says."""
    given = settings_of(run, **change)
    seen = wire.to_dict(observe.observe(given))  # type: ignore[arg-type]
    plan = {"topology": actions.TOPOLOGY, "roles": {name: {"values": one} for name, one in (planned or {}).items()}}
    made = actions.action(export_card, iter([{"changed": False, "chosen": {**seen, **(lies or {})}}]), given)
    made.show = lambda _text: None
    return actions.run(made, preflight_plan=plan)


def test_the_work_makes_the_folder_that_was_chosen_and_described(run: Run) -> None:
    chosen = card_of(run)["spec"]
    assert (chosen["export_step"], chosen["export_weights"]) == ("40", "ema")
    spec = {**spec_of(JOBS["export"], settings_of(run)), **chosen}
    result = answers.of_worker("export", entry.outcome("export", spec, Progress())["result"])
    assert (result["changed"], result["step"], result["weights"], result["shared"]) == (True, 40, "ema", True)
    assert (Path(result["path"]) / "README.md").read_text() == chosen["card"]


def test_the_job_holds_nothing_that_does_not_matter_to_the_export(run: Run) -> None:
    assert sorted(spec_of(JOBS["export"], {**settings_of(run), "export_push_token": "t"})) == [
        "export_step", "export_weights", "run_config_ema", "training_checkpoint_dir", "training_kept_dir",
        "training_results_dir", "weights_dir", "weights_files",
    ]  # fmt: skip


def test_a_dry_run_says_what_it_would_make(run: Run) -> None:
    spec = spec_of(JOBS["export"], settings_of(run))
    assert "the newest checkpoint" in work.preview(spec)[0]
    assert "step 1530 (ema)" in work.preview({**spec, "export_step": "1530", "export_weights": "ema"})[0]


def test_what_cannot_be_is_told_before_there_is_any_work(run: Run) -> None:
    with pytest.raises(FleetError, match="step 30 cannot be exported"):
        observe.observe(settings_of(run, export_step="30"))  # type: ignore[arg-type]


def test_the_card_says_what_was_trained_on_what_and_how_it_went(run: Run) -> None:
    planned = {"dataset": {"rows": 1234, "digests": {"train": DIGEST}}, "canvas_code": {"version": COMMIT}}
    text = card_of(run, planned)["spec"]["card"]
    head = yaml.safe_load(text.split("---\n")[1])
    assert (head["license"], head["base_model"]) == ("apache-2.0", "owner/base")
    for words in (
        f"| train | `{DIGEST}` |", "1,234 rows", f"commit `{COMMIT}`", "| ce | 2.5000 (0) | 0.2500 (40) |",
        "the average of the weights over the last steps", "It was not evaluated", "| `run_config_ema` | 0.9 |",
        f"revision `{COMMIT}`", "2 GPUs",
    ):  # fmt: skip
        assert words in text, words
    assert "9.0000" not in text, "a later step is none of this model"


def test_the_card_of_adapters_says_how_they_were_merged(run: Run) -> None:
    run.adapters(60, merge=True)
    text = card_of(run, training_profile="lora")["spec"]["card"]
    assert "rank 4 and alpha 8, on 2 layers" in text
    assert "`training_lora_rank`" in text


def evaluate(run: Run, subject: str, mode: str, file: str, rows: list[Any]) -> None:
    place = evaluations.Place(f"{run.out}/evaluation", subject, mode)
    step = evaluations.step_of(subject)
    about = evaluation.About(
        1, mode, subject, step, file, DIGEST, DIGEST, 3, COMMIT, 42, {}, "1", "2026-11-30T00:00:00Z"
    )  # type: ignore[arg-type]
    evaluations.begin(place, about)
    for row in rows:
        evaluations.append(place.rows, row)


def answer(row: int, letter: str | None) -> evaluation.AnswerRow:
    return evaluation.AnswerRow(row, letter, (), 10, 0, 1.0)  # type: ignore[arg-type]


def test_the_card_has_the_evaluation_of_the_base_and_of_these_weights(run: Run) -> None:
    loss = [evaluation.LossRow(0, 1.0, 0.5, 10, 10), evaluation.LossRow(1, 2.0, None, 10, 0)]
    evaluate(run, "base", "loss", "ema.safetensors", loss)
    evaluate(run, "0000040", "loss", "model.safetensors", loss)  # not the file that is exported
    evaluate(run, "0000020", "loss", "ema.safetensors", loss)
    evaluate(run, "0000040", "answers", "ema.safetensors", [answer(0, "A"), answer(1, None), answer(2, "B")])
    rows = f"{run.out}/evaluation/rows"
    Path(rows).mkdir()
    for row, letter in enumerate(("A", "B", None)):
        evaluations.append(f"{rows}/rows.jsonl", evaluation.QuestionRow(row, str(row), letter, (), ()))  # type: ignore[arg-type]
    found = {(one.subject, one.mode): one for one in observe.observe(settings_of(run)).evaluations}  # type: ignore[arg-type]
    assert set(found) == {("base", "loss"), ("0000040", "answers")}
    base, tuned = found["base", "loss"], found["0000040", "answers"]
    assert (base.rows, base.wanted, base.ce, base.mse) == (2, 3, 1.5, 0.5)
    assert (tuned.right, tuned.lettered, tuned.unparsed) == (1, 2, 1)
    text = card_of(run)["spec"]["card"]
    assert "| base | loss | 2 of 3 | 1.5000 | 0.5000 | – | – |" in text
    assert "| 0000040 | answers | 3 of 3 | – | – | 1 of 2 | 1 |" in text


@pytest.mark.parametrize("value", ["a|b\n## mine", "\x1b[31mred"])
def test_no_value_leaves_its_cell(run: Run, value: str) -> None:
    text = card_of(run, training_run=value)["spec"]["card"]
    assert not any(line.startswith("## mine") for line in text.splitlines())
    assert "\x1b" not in text
    assert card.cell("a|b") == "a\\|b"


def test_a_host_writes_no_markup_into_a_card_that_is_published(run: Run) -> None:
    link = "[free](https://evil.example)"
    number = {"first_step": 0, "first": 1.0, "last_step": 40, "last": 1.0}
    losses = [{"name": link, **number}, {"name": "ce", **number}]
    told = [{"subject": link, "mode": "loss", "rows": 1, "wanted": 1}]
    text = card_of(run, lies={"losses": losses, "evaluations": told})["spec"]["card"]
    assert "evil" not in text
    assert "| ce | 1.0000 (0) |" in text


@pytest.mark.parametrize(
    "lies", [{"kind": "x"}, {"evaluations": [{"subject": "base", "mode": "x", "rows": 1, "wanted": 1}]}]
)
def test_a_kind_that_is_none_is_an_answer_of_another_form(run: Run, lies: dict[str, Any]) -> None:
    result = card_of(run, lies=lies)
    assert (result["failed"], result["finding"]["code"]) == (True, "HOST_ANSWER_MALFORMED")


def test_no_login_of_the_codes_repository_is_published(run: Run) -> None:
    text = card_of(run, canvas_code_repo="https://me:hunter2@example.org/code?token=1")["spec"]["card"]
    assert "https://example.org/code," in text
    assert "hunter2" not in text


def test_the_other_hosts_of_a_run_have_nothing_to_export(run: Run) -> None:
    made = actions.action(export_card, iter([]), settings_of(run))
    result = actions.run(made, preflight_plan={"topology": {**actions.TOPOLOGY, "node_rank": 1}})
    assert (result["changed"], result["skipped"]) == (False, True)
    assert json.dumps(result)
