"""The role run_config: reasons for a change, and findings with their near misses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import state
from ansible_collections.canvas.fleet.plugins.module_utils.core.wire import from_dict
from ansible_collections.canvas.fleet.plugins.module_utils.roles.run_config import observe as run_config
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256

from tests.unit.support import run_texts
from tests.unit.support.run_settings import lay_out, settings, topology

ENTRY = run_config.entry(settings(), 613)
GUIDE_YAML = "# config\ndata_weights:\n  interleave_reasoning: 1.0\ndata_names:\n  interleave_reasoning:\n    - x\n"
USERS_YAML = "blockmoving_cot:\n  dataset_names:\n  - blockmoving_train\n"


def seen(**changes: Any) -> run_config.Observation:
    """A host in sync with the default settings; a name with __ changes one field below."""
    return from_dict(run_config.Observation, plain(**changes))


def plain(**changes: Any) -> dict[str, Any]:
    """The same as it arrives on the controller."""
    told = settings()
    found: dict[str, Any] = {
        "key": {"present": False, "ours": False, "sha256": ""},
        "rows": 613,
        "registration": {
            "path": run_config.registration_path(told),
            "state": "ours",
            "line": 7,
            "entry": dict(ENTRY),
            "blocks": True,
            "groups": ["interleave_reasoning"],
        },
        "resume_from_present": True,
        "resume": {"step": None, "path": "", "workers": None, "model": "", "weights": "", "keys": []},
    }
    made = run_texts.texts(told, topology())
    for kind, text, mode in (("script", made.script, "0755"), ("yaml", made.yaml, "0644")):
        path = told[f"run_config_{kind}"]
        found[kind] = {"path": path, "present": True, "sha256": sha256(text.encode()), "mode": mode}
        found[kind].update(owner="blockmoving", ours=True, text=text, dialect="loader")
    for name, value in changes.items():
        kind, _, key = name.partition("__")
        if key:
            found[kind][key] = value
        else:
            found[kind] = value
    return found


def other_text(text: str, **fields: Any) -> dict[str, Any]:
    return {**plain()["yaml"], "text": text, "sha256": sha256(text.encode()), **fields}


REASONS = {
    "in sync": ({}, {}, []),
    "nothing there yet": (
        {"script__present": False, "yaml__present": False, "registration": {"path": "p", "state": "no file"}},
        {},
        ["train_blockmoving.sh is not there", "blockmoving_sft.yaml is not there", "is not registered"],
    ),
    "another learning rate": ({}, {"run_config_lr": 2e-5}, ["other settings: --lr 2e-5"]),
    "two other values": ({}, {"run_config_lr": 2e-5, "run_config_ema": 0.9}, ["--lr 2e-5 and 1 more"]),
    "a script changed by hand": (
        {"script__ours": False, "script__sha256": "ab" * 32},
        {},
        ["kept as train_blockmoving.sh.user-abababab"],
    ),
    "the guide's yaml": ({"yaml": other_text(GUIDE_YAML, ours=False, dialect="guide")}, {}, ["the loader cannot read"]),
    "a script that others can write": ({"script__mode": "0777"}, {}, ["0777 blockmoving instead of 0755 blockmoving"]),
    "another number of rows": ({"rows": 700}, {}, ["num_total_samples 613 instead of 700"]),
    "no info file yet": ({"rows": None}, {}, []),
    "data elsewhere": ({}, {"dataset_train_dir": "/data"}, ["data_dir"]),
    "our block emptied": ({"registration__entry": None}, {}, ["None instead of"] * 4),
    "an equal entry by hand": ({"registration__state": "hand", "registration__blocks": False}, {}, []),
    "registered twice": ({"registration__state": "hand"}, {}, ["twice"]),
    "a key to write": ({}, {"run_config_wandb_api_key": "sha256:12"}, ["key file is not there"]),
    "a key taken back": ({"key__present": True, "key__ours": True}, {}, ["so its file is removed"]),
    "a key file made by hand": ({"key__present": True}, {}, []),
    "another key": (
        {"key__present": True, "key__sha256": "34"},
        {"run_config_wandb_api_key": "sha256:12"},
        ["another one"],
    ),
    "a key that others read": (
        {"key__present": True, "key__sha256": "12", "key__mode": "0644", "key__owner": "root"},
        {"run_config_wandb_api_key": "sha256:12"},
        ["0644 root instead of 0600"],
    ),
    "a key that the account owns": (
        {"key__present": True, "key__sha256": "12", "key__mode": "0600", "key__owner": "blockmoving"},
        {"run_config_wandb_api_key": "sha256:12"},
        ["0600 blockmoving instead of 0600 root"],
    ),
    "a key where version 0.1 wrote it": ({"former_keys": ["/out/secrets/key"]}, {}, ["which blockmoving can write"]),
}  # fmt: skip


@pytest.mark.parametrize(("have", "changes", "told"), REASONS.values(), ids=REASONS.keys())
def test_tells_why_it_would_write(have: dict[str, Any], changes: dict[str, Any], told: list[str]) -> None:
    reasons = run_texts.decide(seen(**have), settings(**changes), topology()).reasons
    assert len(reasons) == len(told), reasons
    for reason, part in zip(reasons, told, strict=True):
        assert part in reason


ENTRY_DIALECT = {"registration__state": "dialect", "registration__entry": {"path": "x", "parquet": "y"}}
FINDINGS = {
    "nothing is wrong with the defaults": ({}, {}, []),
    "no weights are asked for": ({}, {"run_config_resume_from": ""}, ["WEIGHTS_NOT_ASKED"]),
    "resume_model_only is missing": ({}, {"run_config_resume_model_only": False}, ["WEIGHTS_NOT_ASKED"]),
    "finetune_from_ema is missing": ({}, {"run_config_finetune_from_ema": False}, ["WEIGHTS_NOT_ASKED"]),
    "all three are missing": (
        {},
        {
            "run_config_resume_from": "",
            "run_config_resume_model_only": False,
            "run_config_finetune_from_ema": False,
        },
        ["WEIGHTS_NOT_ASKED"] * 3,
    ),
    "a checkpoint has a model of its own": (
        {},
        {"run_config_resume_from": "/c", "run_config_finetune_from_ema": False},
        [],
    ),
    "the folder to resume from is missing": (
        {"resume_from_present": False},
        {"run_config_resume_from": "/c"},
        ["RESUME_FROM_MISSING"],
    ),
    "the model folder comes with its own role": ({"resume_from_present": False}, {}, []),
    "three shards on four ranks": ({}, {"run_config_num_shard": 3}, ["SHARDS_MISMATCH"]),
    "two shards, two replicas on four ranks": ({}, {"run_config_num_shard": 2, "run_config_num_replicate": 2}, []),
    "the guide's save_every": ({}, {"run_config_save_every": 500}, ["TAIL_STEPS_UNSAVED"]),
    "one save at the end": ({}, {"run_config_save_every": 1530}, []),
    "a save after the end": ({}, {"run_config_save_every": 1531}, ["NO_SAVE_AT_ALL"]),
    "a save every zero steps": ({}, {"run_config_save_every": 0}, ["NO_SAVE_AT_ALL"]),
    "a warm-up as long as the run": ({}, {"run_config_warmup_steps": 1530}, ["WARMUP_NEVER_ENDS"]),
    "a warm-up that ends a step before": ({}, {"run_config_warmup_steps": 1529}, []),
    "the guide's ema": ({}, {"run_config_ema": 0.9999}, ["EMA_TOO_SLOW"]),
    "an ema just quick enough": ({}, {"run_config_ema": 0.5 ** (1 / 1530.9)}, []),
    "an ema just too slow": ({}, {"run_config_ema": 0.5 ** (1 / 1531.1)}, ["EMA_TOO_SLOW"]),
    "the guide's token budget": ({}, {"run_config_max_num_tokens": 8192}, ["PACKING_DROPS_SAMPLES"]),
    "a budget above the expected": ({}, {"run_config_max_num_tokens": 8193}, []),
    "adapters at the rate of full fine-tuning": (
        {},
        {"training_profile": "lora", "run_config_ema": 0.0, "run_config_lr": 1e-5},
        ["LORA_RATE_LOW"],
    ),
    "adapters at their own": (
        {},
        {"training_profile": "lora", "run_config_ema": 0.0, "run_config_lr": 1e-4},
        [],
    ),
    "the guide's debugging": ({}, {"run_config_debug_batches": 3}, ["DEBUG_BATCHES_PRINT"]),
    "W&B without a key": ({}, {"run_config_enable_wandb": True}, ["WANDB_KEY_MISSING"]),
    "W&B with a key": ({}, {"run_config_enable_wandb": True, "run_config_wandb_api_key": "sha256:1"}, []),
    "W&B with a key file by hand": ({"key__present": True}, {"run_config_enable_wandb": True}, []),
    "W&B offline": ({}, {"run_config_enable_wandb": True, "run_config_env": {"WANDB_MODE": "offline"}}, []),
    "W&B online in words": (
        {},
        {"run_config_enable_wandb": "yes", "run_config_env": {"WANDB_MODE": "online"}},
        ["WANDB_KEY_MISSING"],
    ),
    "the trainer's own offline, which logs in": (
        {},
        {"run_config_enable_wandb": True, "run_config_extra_flags": {"wandb_offline": True}},
        ["WANDB_KEY_MISSING"],
    ),
    "a misspelt flag": ({}, {"run_config_extra_flags": {"freeze_vti": True}}, ["FLAG_UNKNOWN"]),
    "a flag that is known": ({}, {"run_config_extra_flags": {"freeze_vit": True}}, []),
    "a flag given twice": ({}, {"run_config_extra_flags": {"lr": 1}}, ["VARIABLE_INVALID"]),
    "the guide's yaml": ({"yaml": other_text(GUIDE_YAML, ours=False, dialect="guide")}, {}, ["YAML_DIALECT"]),
    "the yaml of the user's repository": (
        {"yaml": other_text(USERS_YAML, ours=False, dialect="group")},
        {},
        ["YAML_DIALECT"],
    ),
    "a yaml of the loader's form": ({"yaml": other_text(USERS_YAML, ours=False)}, {}, []),
    "the guide's registration": (ENTRY_DIALECT, {}, ["REGISTRATION_DIALECT"]),
    "another entry by hand": ({"registration__state": "hand"}, {"dataset_train_dir": "/d"}, ["REGISTRATION_BY_HAND"]),
    "an equal entry by hand": ({"registration__state": "hand", "registration__blocks": False}, {}, []),
    "a file that does not parse": (
        {"registration": {"path": "p", "state": "broken", "error": "line 3"}},
        {},
        ["REGISTRATION_BROKEN"],
    ),
    "a group without a class": ({"registration__groups": ["vlm_sft"]}, {}, ["GROUP_UNKNOWN"]),
}  # fmt: skip


@pytest.mark.parametrize(("have", "changes", "codes"), FINDINGS.values(), ids=FINDINGS.keys())
def test_finds(have: dict[str, Any], changes: dict[str, Any], codes: list[str]) -> None:
    plan = run_texts.decide(seen(**have), settings(**changes), topology())
    assert [found.code for found in plan.findings] == codes


def test_a_yaml_that_will_be_replaced_does_not_refuse_the_run() -> None:
    plan = run_texts.decide(seen(yaml=other_text(GUIDE_YAML, ours=False, dialect="guide")), settings(), topology())
    assert [found.severity for found in plan.findings] == ["note"]


def test_the_guides_ema_is_told_with_its_figure() -> None:
    plan = run_texts.decide(seen(), settings(run_config_ema=0.9999), topology())
    assert "86%" in plan.findings[0].found


def test_a_finding_about_the_tail_names_a_divisor() -> None:
    plan = run_texts.decide(seen(), settings(run_config_save_every=500), topology())
    assert "the last 30 of 1530" in plan.findings[0].found
    assert plan.findings[0].expected == "a divisor of 1530, such as 510"


def test_the_difference_is_short_and_in_values() -> None:
    diff = run_texts.decide(seen(), settings(run_config_lr=2e-5), topology()).values["diff"]
    assert diff == ["-  --lr 1e-5 \\", "+  --lr 2e-5 \\"]


DIALECTS = {
    "guide": GUIDE_YAML,
    "loader": run_texts.texts(settings(), topology()).yaml,
    "group": USERS_YAML,
    "unknown": "a: 1\n",
}


@pytest.mark.parametrize(("form", "text"), DIALECTS.items())
def test_knows_the_forms_of_a_yaml(form: str, text: str) -> None:
    assert run_config.dialect(text, "interleave_reasoning") == form


def test_observes_a_bare_host_without_raising(tmp_path: Path) -> None:
    found = run_config.observe(settings(tmp_path / "nothing"))
    assert (found.script.present, found.yaml.present, found.rows) == (False, False, None)
    assert found.registration.state == "no file"


def test_observes_what_stands_in_the_file(tmp_path: Path) -> None:
    lay_out(tmp_path)
    told = settings(tmp_path)
    path = Path(run_config.registration_path(told))
    assert run_config.observe(told).registration.state == "absent"
    path.write_bytes(run_texts.register(path.read_bytes(), "interleave_reasoning", "blockmoving_train", ENTRY))
    found = run_config.observe(told).registration
    assert (found.state, found.entry, found.groups) == ("ours", ENTRY, ("interleave_reasoning",))
    path.write_bytes(path.read_bytes().replace(b"'num_files'", b"'files'"))
    assert run_config.observe(told).registration.state == "ours", "a damaged block is ours to mend"
    path.write_text("DATASET_INFO = {")
    assert run_config.observe(told).registration.state == "broken"


INFO = {
    "the dataset role's": ('{"/a/x.parquet": {"num_row_groups": 1, "num_rows": 613}}', 613),
    "two files": ('{"a": {"num_rows": 1}, "b": {"num_rows": 2}}', None),
    "no JSON": ("{", None),
    "a list": ("[]", None),
    "no rows": ('{"a": {}}', None),
}


@pytest.mark.parametrize(("text", "rows"), INFO.values(), ids=INFO.keys())
def test_reads_the_rows_of_one_training_file(tmp_path: Path, text: str, rows: int | None) -> None:
    (tmp_path / "info.json").write_text(text)
    assert run_config.info_rows(str(tmp_path / "info.json")) == rows


def test_a_key_is_compared_by_its_digest_only(tmp_path: Path) -> None:
    lay_out(tmp_path)
    told = settings(tmp_path)
    path = Path(state.wandb_key(told))
    path.parent.mkdir(parents=True)
    path.write_text("the-key")
    found = run_config.observe(told)
    assert found.key.sha256 == hashlib.sha256(b"the-key").hexdigest()
    assert "the-key" not in str(found)


@pytest.mark.parametrize(("hosts", "ranks"), [(("atlas",), "4 ranks"), (("bolt0", "bolt1"), "2 × 4 ranks")])
def test_the_summary_says_on_how_many_ranks(hosts: tuple[str, ...], ranks: str) -> None:
    told = settings(run_config_total_steps=60, run_config_save_every=20)
    summary = run_texts.decide(seen(), told, topology(hosts=hosts)).summary
    assert summary == f"60 steps, saved every 20, {ranks}"
