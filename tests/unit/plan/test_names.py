"""Names that no role knows: misspelt, old, of the guide, or without their role. The right one is named."""

from __future__ import annotations

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.plan import names
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

KNOWN = {name: option.role for name, option in load_specs().options.items()}


def meant(*given: str) -> list[str]:
    """The names that the findings propose, "" where they propose none."""
    found = names.unknown(KNOWN, given)
    assert {one.code for one in found} <= {"VARIABLE_UNKNOWN"}
    return [one.expected[:-1] if one.expected.endswith("?") else "" for one in found]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param("run_config_total_step", "run_config_total_steps", id="a letter is missing"),
        pytest.param("run_config_TOTAL_STEPS", "run_config_total_steps", id="in capitals"),
        pytest.param("Weights-Dir", "weights_dir", id="with another sign between the words"),
        pytest.param("traning_run", "training_run", id="a letter of the role's name is missing"),
        pytest.param("weight_dir", "weights_dir", id="the role's name in the singular"),
        pytest.param("training_lr", "run_config_lr", id="another role than its own"),
        pytest.param("training_total_step", "run_config_total_steps", id="another role, and misspelt"),
        pytest.param("training_learning_rate", "run_config_lr", id="another role and another word"),
        pytest.param("dataset_path", "dataset_train", id="a word of habit"),
        pytest.param("weights_path", "weights_dir", id="a word of habit, of another role"),
        pytest.param("training_model_path", "weights_dir", id="a word of habit behind a role"),
        pytest.param("MODEL_PATH", "weights_dir", id="the guide's model"),
        pytest.param("WANDB_ENABLE", "run_config_enable_wandb", id="the guide's switch of W&B"),
        pytest.param("WANDB_NAME", "run_config_wandb_name", id="the guide's name at W&B"),
        pytest.param("SAVE_EVERY", "run_config_save_every", id="the guide's steps between saves"),
        pytest.param("RESULTS_DIR", "training_results_dir", id="the guide's results"),
        pytest.param("CKPT_DIR", "training_checkpoint_dir", id="the guide's checkpoints"),
        pytest.param("WANDB_API_KEY", "run_config_wandb_api_key", id="the guide's key"),
        pytest.param("total_steps", "run_config_total_steps", id="a flag of the trainer"),
        pytest.param("lr", "run_config_lr", id="a short flag of the trainer"),
        pytest.param("nproc_per_node", "run_config_processes", id="a flag of torchrun"),
        pytest.param("dataset_zzz_qqq_zzz", "", id="a role's prefix and nothing like it"),
    ],
)
def test_the_variable_that_was_meant_is_named(name: str, known: str) -> None:
    assert meant(name) == [known]
    assert not known or known in KNOWN


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(("train_script",), id="a name of the user's own"),
        pytest.param(("user", "name", "source"), id="words that may be anybody's"),
        pytest.param(("total_steps", "run_config_total_steps"), id="the user's own, from which the right one is set"),
        pytest.param(("model_path", "weights_dir"), id="the same of a word of habit"),
        pytest.param(("preflight_plan", "run_config_lr"), id="what is known"),
        pytest.param(("ansible_user", "inventory_hostname", "group_names"), id="names of Ansible"),
    ],
)
def test_a_name_that_means_none_of_ours_is_left_alone(given: tuple[str, ...]) -> None:
    assert meant(*given) == []


@pytest.mark.parametrize("table", [names.RENAMED, names.HABITS])
def test_what_is_proposed_instead_of_a_name_exists(table: dict[str, str]) -> None:
    assert {new for new in table.values() if new not in KNOWN} == set()
    assert {name: meant(name) for name in table} == {name: [new] for name, new in table.items()}
