"""Findings about the state from which a run would resume. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ...core.errors import FleetError
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer.flags import truth
from . import resume, script
from .observe import Observation

# Flags that change nothing of what is trained.
QUIET = {"log_every", "enable_wandb", "wandb_name", "wandb_runid", "debug_batches", "num_workers", "prefetch_factor"}


def profile_of(given: Mapping[str, str]) -> str:
    """The training_profile of a script, by its flags."""
    if "fleet_lora_rank" in given:
        return "lora"
    return "frozen" if truth(given.get("freeze_llm", "False")) else "full"


def optimizer_of(given: Mapping[str, str]) -> str:
    return given.get("fleet_optimizer", "adamw")


def judge(seen: Observation, settings: Settings, topology: Topology) -> list[Finding]:
    """Findings about resuming, the profile, and keys in scripts."""
    state = seen.resume
    findings = [*_auto_resume(settings), *_profile(settings), *_early_save(settings, topology), *_keys(state)]
    if not settings["run_config_auto_resume"] or state.step is None:
        return findings
    return [*findings, *_model(state), *_workers(state, settings, topology), *_earlier(seen, settings, topology)]


def _auto_resume(settings: Settings) -> list[Finding]:
    if settings["run_config_auto_resume"]:
        return []
    return [finding("AUTO_RESUME_OFF", found="auto_resume false", expected="true", variable="run_config_auto_resume")]


def _profile(settings: Settings) -> list[Finding]:
    """Findings about flags that the unpatched code cannot handle."""
    if settings.get("training_profile") in ("frozen", "lora"):
        return []
    found = []
    if truth((settings.get("run_config_extra_flags") or {}).get("freeze_llm", False)):
        found.append(
            finding(
                "FREEZE_NEEDS_PROFILE",
                found="freeze_llm in run_config_extra_flags, training_profile full",
                expected="training_profile lora or frozen",
                variable="training_profile",
            )
        )
    return found


def _early_save(settings: Settings, topology: Topology) -> list[Finding]:
    """Batch n comes from worker n % num_workers, and steps count from 0: by step s, s + 1 workers gave a batch."""
    every, workers = settings["run_config_save_every"], topology.num_workers
    if every < 1 or every + 1 >= workers:
        return []
    return [
        finding(
            "SAVED_BEFORE_ALL_WORKERS",
            found=f"save_every {every} with {workers} workers: {every + 1} of them have given a batch by then",
            expected=f"save_every at least {workers - 1}",
            variable="run_config_save_every",
        )
    ]


def _keys(state: resume.Resume) -> list[Finding]:
    return [
        finding(
            "WANDB_KEY_IN_SCRIPT",
            found=f"{path}: a value of WANDB_API_KEY",
            expected="no key in it",
            variable="run_config_wandb_api_key",
        )
        for path in state.keys
    ]


def _model(state: resume.Resume) -> list[Finding]:
    """Names and shapes of the checkpoint against those of the model folder, where both can be read."""
    if not state.model or not state.weights or state.model == state.weights:
        return []
    expected = "weights with the names and shapes of the model folder's"
    return [finding("CHECKPOINT_OTHER_MODEL", found=f"{state.path}: another model's weights", expected=expected)]


def _workers(state: resume.Resume, settings: Settings, topology: Topology) -> list[Finding]:
    """Each worker of a rank looks up its place, if the checkpoint has that rank."""
    if state.workers is None or state.step is None or state.step >= settings["run_config_total_steps"]:
        return []
    wanted = set(range(max(1, topology.num_workers)))
    for rank, known in enumerate(state.workers[: topology.world_size]):
        if known and not wanted <= set(known):
            most = next(number for number in range(len(known) + 1) if number not in known)
            return [
                finding(
                    "WORKERS_GROWN",
                    found=f"{state.path}: rank {rank} knows workers {list(known)}, the run will have {len(wanted)}",
                    expected=f"run_config_num_workers of at most {most}",
                    variable="run_config_num_workers",
                )
            ]
    return []


def _other(path: str, before: Mapping[str, str], now: Mapping[str, str]) -> list[Finding]:
    """Optimizer states that do not fit. The guard sees adapters by their files, so `lora` is not compared here."""
    was, asked = profile_of(before), profile_of(now)
    kinds = optimizer_of(before), optimizer_of(now)
    found = []
    if was != asked and "lora" not in (was, asked):
        expected = f"training_profile {was}, as the script that made it"
        found.append(finding("CHECKPOINT_OTHER_PROFILE", found=path, expected=expected, variable="training_profile"))
    if was == asked and "adamw_8bit" in kinds and kinds[0] != kinds[1]:
        expected = f"run_config_optimizer {kinds[0]}, as the script that made it"
        variable = "run_config_optimizer"
        found.append(finding("CHECKPOINT_OTHER_OPTIMIZER", found=path, expected=expected, variable=variable))
    return found


def _earlier(seen: Observation, settings: Settings, topology: Topology) -> list[Finding]:
    """Compare the settings with those of the script on the host, which made the checkpoints."""
    state, text = seen.resume, seen.script.text
    try:
        now = script.flags(settings, topology)
    except FleetError:
        return []  # reported elsewhere
    before = resume.flags(text)
    found = _other(state.path, before, now) if text else []
    total = settings["run_config_total_steps"]
    changed = [
        f"--{name} {now[name]}" for name in now if name not in QUIET and before.get(name, now[name]) != now[name]
    ]
    if state.step is not None and state.step >= total and (changed or not text):
        what = f"changed since: {', '.join(changed)}" if changed else "there is no script that made it"
        variable = "training_run"
        found.append(
            finding(
                "RUN_ALREADY_DONE",
                found=f"{state.path} has all {total} steps; {what}",
                expected="checkpoints of this run alone",
                variable=variable,
            )
        )
    return found
