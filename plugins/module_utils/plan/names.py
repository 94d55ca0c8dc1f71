"""Names of variables: those that no role knows, and the variables that they stand for. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from ..findings.finding import Finding, finding

# What the plan gives to the roles; no settings of a user.
PLAN_NAMES = ("preflight_plan", "__fleet_plan")
# Variables of 0.1 under the name that they have now, or the variable that decides the same.
RENAMED = {
    "conda_env_adopt": "conda_env_use_existing",
    "conda_env_compiler": "fleet_agent_compiler",
    "dataset_num_workers": "run_config_num_workers",
    "dataset_world_size": "run_config_processes",
    "conda_env_mirrors": "fleet_mirrors",
    "conda_env_pip_find_links": "fleet_pip_find_links",
    "fleet_patience": "fleet_reconnect_timeout",
    "fleet_teardown_also": "fleet_teardown_include",
    "nvidia_own_programs": "nvidia_busy_ignore_below",
    "preflight_accept": "preflight_accepted_findings",
    "training_auto_resume": "run_config_auto_resume",
    "training_first_ce_stop": "training_max_first_loss",
    "training_first_ce_warn": "training_warn_first_loss",
    "training_inputs": "run_config_yaml",
    "training_num_shard": "run_config_num_shard",
    "training_peer_allow": "training_peer_networks",
    "training_save_every": "run_config_save_every",
    "training_script": "run_config_script",
    "training_share": "training_shared_checkpoints",
    "training_total_steps": "run_config_total_steps",
    "run_config_wandb_key_file": "run_config_wandb_api_key",
    "training_wandb_key_file": "run_config_wandb_api_key",
    "training_working_dir": "canvas_code_dir",
    "weights_patience": "weights_stall_timeout",
}
# Names of the guide's script, of the trainer's flags and of habit that are no variable's name without its role.
HABITS = {
    "MODEL_PATH": "weights_dir",
    "WANDB_ENABLE": "run_config_enable_wandb",
    "CKPT_DIR": "training_checkpoint_dir",
    "HF_ENDPOINT": "weights_endpoint",
    "HF_TOKEN": "weights_token",
    "dataset_config_file": "run_config_yaml",
    "dataset_csv": "dataset_train",
    "dataset_file": "dataset_train",
    "dataset_path": "dataset_train",
    "dataset_train_path": "dataset_train",
    "eval_at_end": "evaluation_at_end",
    "eval_mode": "evaluation_mode",
    "eval_step": "evaluation_step",
    "evaluate_step": "evaluation_step",
    "learning_rate": "run_config_lr",
    "model_path": "weights_dir",
    "nproc_per_node": "run_config_processes",
    "num_gpus": "run_config_processes",
    "output_dir": "training_results_dir",
    "weights_path": "weights_dir",
}
WORDS_ALONE = ("ema", "lr")  # other names of one word may be anybody's
PREFIX_ALIKE = 0.85  # of 1: one or two letters of a role's name
NAME_ALIKE = 0.85  # of 1: a letter or two of a whole name
TAIL_ALIKE = 0.8
HARDLY_ALIKE = 0.6


def unknown(known: Mapping[str, str], names: Iterable[str]) -> list[Finding]:
    """A finding for each name that carries a role's prefix, or means a variable without it, and that no spec knows.

    `known` gives the role of each variable.
    """
    given = set(names)
    found = []
    for name in sorted(given - set(known) - set(PLAN_NAMES)):
        prefixed = name.startswith(tuple(f"{role}_" for role in known.values()))
        near = next(_meant(known, name, given, prefixed), "")
        if prefixed or near:
            found.append(
                finding(
                    "VARIABLE_UNKNOWN",
                    variable=name,
                    found=f"{name}, which no role knows",
                    expected=f"{near}?" if near else "a variable of docs/variables.md",
                    remedy=f"write {near} instead of {name}, or remove it" if near else "",
                )
            )
    return found


def _meant(known: Mapping[str, str], name: str, given: set[str], prefixed: bool) -> Iterator[str]:
    """Variables that the name may stand for, the likeliest first."""
    if name in RENAMED:
        yield RENAMED[name]
    yield from (one for one in known if _squeezed(one) == _squeezed(name))
    tails = {one: one[len(role) + 1 :] for one, role in known.items()}
    if prefixed:
        role = max((role for role in known.values() if name.startswith(f"{role}_")), key=len)
        tail = name[len(role) + 1 :]
        yield from (HABITS[word] for word in (name, tail) if word in HABITS)
        yield from (one for one in known if tails[one] == tail)
        yield from difflib.get_close_matches(name, known, n=1, cutoff=NAME_ALIKE)
        alike = difflib.get_close_matches(tail, tails.values(), n=1, cutoff=TAIL_ALIKE)
        yield from (one for one in known if [tails[one]] == alike)
        yield from difflib.get_close_matches(name, known, n=1, cutoff=HARDLY_ALIKE)
        return
    # a variable of the user's own, from which the right one is set, is none of them
    tail = name.lower()
    plain = [one for one in known if tails[one] == tail and ("_" in tail or tail in WORDS_ALONE)]
    yield from (one for one in [HABITS.get(name, ""), *plain] if one and one not in given)
    yield from _misspelt_prefix(known, name)


@lru_cache(maxsize=1024)
def _squeezed(name: str) -> str:
    """The letters alone, so that Weights-Dir and weightsdir are seen to mean weights_dir."""
    return re.sub(r"[\W_]", "", name).lower()


def _misspelt_prefix(known: Mapping[str, str], name: str) -> Iterator[str]:
    """The variable that differs from `name` only by some letters of its role's name, as traning_run does."""
    heads = [name[:place] for place, letter in enumerate(name) if letter == "_"]
    for one, role in known.items():
        for head in heads:
            alike = one == role + name[len(head) :] and difflib.SequenceMatcher(None, head, role).ratio()
            if alike and alike >= PREFIX_ALIKE:
                yield one
