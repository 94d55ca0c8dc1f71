"""Findings about a training of adapters, by what its log says. Pure."""

from __future__ import annotations

from ...core.settings import Settings
from ...findings.finding import Finding, finding
from ...trainer.log import Summary
from ...trainer.model import Model

STEPS = 20  # after so many the trainer says how far the adapters have moved


def judge(log: Summary, model: Model, settings: Settings) -> list[Finding]:
    """`model`: as it is planned; the number of its layers says how many adapters there are."""
    seen = log.adapters
    if settings["training_profile"] != "lora" or seen is None:
        return []
    found, expected = [], model.adapters(settings["training_lora_targets"])
    if seen.number != expected:
        given = f"{seen.number} adapters of rank {seen.rank}"
        wanted = f"{expected} for training_lora_targets: {settings['training_lora_targets']}"
        found.append(finding("ADAPTERS_UNEXPECTED", found=given, expected=wanted, variable="training_lora_targets"))
    if seen.moved == 0 and (log.step or 0) - (log.start_step or 0) >= STEPS:
        given = f"step {log.step}: all B are still zero"
        found.append(finding("ADAPTERS_STILL", found=given, expected="adapters that move", variable="run_config_lr"))
    return found
