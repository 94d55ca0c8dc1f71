"""The script and the yaml, run by a real bash with a torchrun that listens."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.core.version import VERSION
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import script as launch
from ansible_collections.canvas.fleet.plugins.module_utils.system.programs import SYSTEM_PATH
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import flags as trainer_flags
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.environment import Script
from hypothesis import given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from tests.unit.support import run_texts
from tests.unit.support.run_settings import ROOT, settings, topology

TWO_NODES = topology(run="bolt", hosts=("bolt0", "bolt1"), node_rank=1, nproc_per_node=8, master_addr="10.0.0.5")
LISTENER = """#!/usr/bin/env python3
import json, os, sys
print(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}))
"""


def run(root: Path, environment: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Run the script of these settings with a fake torchrun; what that was given."""
    told = settings(root, **changes)
    (root / "bin").mkdir(exist_ok=True)
    (root / "bin/torchrun").write_text(LISTENER)
    (root / "bin/torchrun").chmod(0o755)
    Path(told["canvas_code_dir"]).mkdir(parents=True, exist_ok=True)
    script = root / "train.sh"
    script.write_text(run_texts.texts(told, topology()).script)
    path = f"{root}/bin:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(script)], capture_output=True, text=True, check=True, env={"PATH": path, **(environment or {})}
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nvidia_gpu_expected": False},
        {"run_config_env": {"LD_LIBRARY_PATH": "/opt/a b", "PYTHONPATH": "/x", "CUDA_HOME": "/other", "N": 1}},
    ],
    ids=["as it is", "without a GPU", "the user's own"],
)
def test_the_environment_is_proved_as_the_trainer_gets_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    told = settings(tmp_path, **changes)
    proved = Script.of(told).environment(told["conda_env_prefix"])
    env = run(tmp_path, **changes)["env"]
    path = env.pop("PATH").replace(f"{tmp_path}/bin:{os.environ['PATH']}", SYSTEM_PATH)
    assert path.endswith(proved.pop("PATH"))  # what python3 puts before it here is not of the script
    assert {name: env.get(name) for name in proved} == proved
    loader = re.compile("LD_|CUDA|PYTHON(?!UNBUFFERED)|CONDA")
    assert [name for name in env if loader.match(name) and name not in proved] == []


def test_the_trainer_gets_exactly_the_planned_arguments(tmp_path: Path) -> None:
    seen = run(tmp_path)
    assert ["torchrun", *seen["argv"]] == run_texts.argv(settings(tmp_path), topology())
    told = dict(zip(seen["argv"][7::2], seen["argv"][8::2], strict=True))
    model = f"{tmp_path}/models/BAGEL-7B-MoT"
    assert told["--resume_from"] == told["--model_path"] == model
    assert (told["--resume_model_only"], told["--finetune_from_ema"]) == ("True", "True")
    assert (told["--num_replicate"], told["--num_shard"], told["--lr"]) == ("1", "4", "1e-5")
    assert seen["cwd"] == f"{tmp_path}/MathCanvas/BAGEL-Canvas"
    assert seen["env"]["CUDA_HOME"] == "/usr/local/cuda-12.6"
    assert seen["env"]["LD_LIBRARY_PATH"] == "/usr/local/cuda-12.6/lib64"
    assert Path(f"{tmp_path}/outputs/atlas/checkpoints").is_dir()


def test_every_flag_of_the_guide_is_told() -> None:
    guide = (
        "dataset_config_file results_dir checkpoint_dir model_path num_shard layer_module max_latent_size "
        "timestep_shift use_flex finetune_from_hf auto_resume log_every save_every del_previous_state lr "
        "lr_scheduler min_lr ce_weight mse_weight warmup_steps total_steps ema cpu_offload num_workers "
        "expected_num_tokens max_num_tokens max_num_tokens_per_sample prefer_buffer_before "
        "text_cond_dropout_prob vit_cond_dropout_prob vae_cond_dropout_prob debug_batches enable_wandb "
        "wandb_name wandb_runid"
    )
    told = launch.flags(settings(), topology())
    assert [name for name in told if name in guide.split()] == guide.split()
    assert set(told) <= {*trainer_flags.KNOWN, "fleet_optimizer"}


def ours(**changes: Any) -> dict[str, str]:
    """Flags that our patches add."""
    told = launch.flags(settings(**changes), topology())
    return {name: value for name, value in told.items() if name in {*trainer_flags.OURS, "freeze_llm", "freeze_vit"}}


LORA = {
    "training_lora_rank": "16",
    "training_lora_alpha": 32,
    "training_lora_dropout": 0.05,
    "training_lora_targets": "attention",
    "training_lora_connectors": False,
}


def test_each_profile_and_optimizer_has_its_own_flags() -> None:
    frozen = {"freeze_llm": "True", "freeze_vit": "True"}
    assert ours() == {"fleet_optimizer": "adamw_fused"}
    assert ours(run_config_optimizer="adamw", **LORA) == {}
    assert ours(run_config_optimizer="adamw", training_profile="frozen") == frozen
    assert ours(run_config_optimizer="adamw_8bit", training_profile="lora", **LORA) == {
        **frozen,
        "fleet_lora_rank": "16",
        "fleet_lora_alpha": "32.0",
        "fleet_lora_dropout": "0.05",
        "fleet_lora_targets": "attention",
        "fleet_lora_connectors": "False",
        "fleet_optimizer": "adamw_8bit",
    }


def test_a_rank_that_is_no_number_is_refused_by_its_variable() -> None:
    with pytest.raises(FleetError) as refused:
        launch.flags(settings(training_profile="lora", **{**LORA, "training_lora_rank": "many"}), topology())
    assert refused.value.variable == "training_lora_rank"


def test_our_flags_are_none_of_the_users_extra_ones() -> None:
    with pytest.raises(FleetError, match="does not know the flag"):
        launch.flags(settings(run_config_extra_flags={"fleet_lora_rank": 4}), topology())


def test_the_master_is_reached_by_address_only_when_there_are_more_nodes() -> None:
    assert "--master_addr=localhost" in run_texts.argv(settings(), topology(master_addr="10.0.0.5"))
    words = run_texts.argv(settings(), TWO_NODES)
    assert words[1:6] == [
        "--nnodes=2", "--node_rank=1", "--master_addr=10.0.0.5", "--master_port=29501", "--nproc_per_node=8",
    ]  # fmt: skip
    assert (launch.flags(settings(), TWO_NODES)["num_shard"], launch.flags(settings(), TWO_NODES)["num_replicate"]) == (
        "8",
        "2",
    )


KEY = "0123456789abcdef-secret"


def test_the_key_comes_from_the_credential_alone(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/wandb_api_key").write_text(KEY)
    with_unit = run(tmp_path, {"CREDENTIALS_DIRECTORY": f"{tmp_path}/credentials"}, run_config_enable_wandb=True)
    assert with_unit["env"]["WANDB_API_KEY"] == KEY
    assert KEY not in json.dumps(with_unit["argv"])


def test_no_key_is_exported_when_wandb_is_off_or_no_key_is_there(tmp_path: Path) -> None:
    (tmp_path / "wandb_api_key").write_text(KEY)
    off = run(tmp_path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    none = run(tmp_path, run_config_enable_wandb=True)
    assert "WANDB_API_KEY" not in {*off["env"], *none["env"]}


def test_the_key_never_stands_in_a_rendered_file() -> None:
    told = settings(run_config_wandb_api_key=KEY, run_config_enable_wandb=True)
    assert KEY not in str(run_texts.texts(told, topology()))


def test_nothing_of_cuda_is_exported_without_a_gpu(tmp_path: Path) -> None:
    seen = run(tmp_path, nvidia_gpu_expected=False)
    assert not {"CUDA_HOME", "LD_LIBRARY_PATH"} & set(seen["env"])


words = st.text(st.characters(blacklist_characters="\0\n\r", blacklist_categories=("Cs",)), min_size=1, max_size=12)


@bounds(max_examples=25, deadline=None)  # each example is a shell
@given(name=words, path=words, value=words)
def test_law_any_text_survives_the_shell(
    name: str, path: str, value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Split by the shell's own rules, the command is the list that was planned."""
    told = settings(run_config_wandb_name=name, weights_dir=f"/m/{path}", run_config_env={"NOTE": value})
    text = run_texts.texts(told, topology()).script
    probe = text.replace("exec torchrun", 'torchrun() { printf \'%s\\0\' "$NOTE" "$@"; }\ntorchrun', 1)
    probe = re.sub(r"^(mkdir|cd) .*$", ":", probe, flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", probe], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == [value, *run_texts.argv(told, topology())[1:]]


def test_the_yaml_is_what_the_loader_reads() -> None:
    loaded = yaml.safe_load(run_texts.texts(settings(), topology()).yaml)
    assert list(loaded) == ["interleave_reasoning"]
    group = loaded["interleave_reasoning"]
    assert group["dataset_names"] == ["blockmoving_train"]
    assert (group["num_used_data"], group["is_mandatory"], group["weight"]) == ([1], True, 1.0)
    assert group["image_transform_args"] == {"image_stride": 16, "max_image_size": 512, "min_image_size": 512}
    assert group["vit_image_transform_args"]["image_stride"] == 14


@bounds(deadline=None)
@given(group=words, name=words)
def test_law_any_name_survives_the_yaml(group: str, name: str) -> None:
    loaded = yaml.safe_load(run_texts.texts(settings(dataset_group=group, dataset_name=name), topology()).yaml)
    assert loaded[group]["dataset_names"] == [name]


def test_extra_flags_follow_in_order_and_typed() -> None:
    told = launch.flags(
        settings(run_config_extra_flags={"freeze_vit": "yes", "beta2": "0.99", "data_seed": 7}), topology()
    )
    assert list(told.items())[-3:] == [("beta2", "0.99"), ("data_seed", "7"), ("freeze_vit", "True")]


REFUSED = {
    "a flag that the parser does not know": ({"run_config_extra_flags": {"freeze_lm": True}}, "freeze_lm"),
    "a flag that has a variable of its own": ({"run_config_extra_flags": {"lr": 1}}, "run_config_lr"),
    "a half step": ({"run_config_extra_flags": {"max_grad_norm": 0.5}}, "max_grad_norm"),
    "a word for a number": ({"run_config_total_steps": "many"}, "run_config_total_steps"),
    "a number for a switch": ({"run_config_use_flex": 2}, "run_config_use_flex"),
    "a truth for a number": ({"run_config_total_steps": True}, "run_config_total_steps"),
    "the key among the exports": ({"run_config_env": {"WANDB_API_KEY": "x"}}, "run_config_wandb_api_key"),
    "an export with a dash": ({"run_config_env": {"A-B": "x"}}, "A-B"),
}


@pytest.mark.parametrize(("changes", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses_what_the_trainer_cannot_be_told(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(FleetError, match=re.escape(told)):
        run_texts.texts(settings(**changes), topology())


def test_the_version_is_the_collections() -> None:
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION


class Tagged(str):
    """As Ansible hands a text of the inventory over: of a class that neither yaml nor repr writes as a text."""

    def __repr__(self) -> str:
        return "tagged"


def test_texts_of_ansibles_own_class_are_written_as_texts() -> None:
    tagged = {name: Tagged(value) if isinstance(value, str) else value for name, value in settings().items()}
    place = topology(run=Tagged("atlas"), master_addr=Tagged("localhost"))
    assert run_texts.texts(tagged, place) == run_texts.texts(settings(), topology())


def test_a_shape_survives_the_way_through_the_plan() -> None:
    way = Topology.from_dict(json.loads(json.dumps(TWO_NODES.as_dict())))
    assert way == TWO_NODES
