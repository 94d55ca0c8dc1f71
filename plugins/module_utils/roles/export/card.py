"""The values of the model card's template. Pure; what a host says comes as declared numbers and digests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core import masking, shown
from ...core.progress import amount
from ...core.settings import Settings
from ...evaluation.folder import SUBJECT
from .evaluated import Evaluated
from .observe import Loss, Seen

# Of the settings those that decide what was learned; how it was run (ports, folders, workers) is nobody's business.
TRAINED = (
    *("training_profile", "run_config_total_steps", "run_config_lr", "run_config_lr_scheduler", "run_config_min_lr"),
    *("run_config_warmup_steps", "run_config_ema", "run_config_ce_weight", "run_config_mse_weight"),
    *("run_config_timestep_shift", "run_config_expected_num_tokens", "run_config_max_num_tokens"),
    *("run_config_max_num_tokens_per_sample", "run_config_text_cond_dropout_prob"),
    *("run_config_vit_cond_dropout_prob", "run_config_vae_cond_dropout_prob"),
)
ADAPTED = ("training_lora_rank", "training_lora_alpha", "training_lora_dropout", "training_lora_targets")
KINDS = {
    "ema": "the average of the weights over the last steps (EMA)",
    "model": "the weights of that step",
    "merged": "the base merged with the adapters of that step",
}
NONE = "–"
NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")  # of a loss: the card is published, so a host writes no markup into it


def values(seen: Seen, settings: Settings, planned: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """Of README.md.j2. `planned`: values of the plan by role."""
    given: Mapping[str, Any] = dict(settings)
    lora = settings["training_profile"] == "lora"
    names = (*TRAINED, *(ADAPTED if lora else ()))
    rows = int(planned.get("dataset", {}).get("rows") or 0)
    return {
        "license": str(settings["export_license"]),
        "base_model": str(settings["weights_repo"]),
        "base_revision": cell(settings["weights_revision"]),
        "run": cell(settings["training_run"]),
        "step": seen.step,
        "kind": KINDS[seen.kind],
        "size": amount(seen.size, "B"),
        "digest": f", SHA-256 `{seen.sha256}`" if re.fullmatch("[0-9a-f]{64}", seen.sha256) else "",
        "code": f"{cell(_repo(settings))}, commit `{cell(_commit(settings, planned))}`",
        "world_size": cell(planned.get("topology", {}).get("world_size") or NONE),
        "settings": table(("setting", "value"), [(f"`{name}`", given[name]) for name in names]),
        "data": _data(planned),
        "rows": f"{rows:,} rows were trained on." if rows else "",
        "losses": _losses(seen.losses),
        "merged": _merged(seen),
        "evaluation": _evaluation(seen.evaluations),
    }


def _repo(settings: Settings) -> str:
    """Its address as it may be published."""
    return masking.public(str(settings["canvas_code_repo"]))


def _commit(settings: Settings, planned: Mapping[str, Mapping[str, Any]]) -> str:
    return str(planned.get("canvas_code", {}).get("version") or settings["canvas_code_commit"])


def _data(planned: Mapping[str, Mapping[str, Any]]) -> str:
    digests = planned.get("dataset", {}).get("digests") or {}
    lines = [(kind, f"`{digest}`") for kind, digest in sorted(digests.items())]
    return table(("file", "SHA-256"), lines) if lines else "The role dataset has no record of the files.\n"


def _losses(losses: Sequence[Loss]) -> str:
    named = [one for one in losses if NAME.fullmatch(one.name)]
    lines = [(one.name, f"{one.first:.4f} ({one.first_step})", f"{one.last:.4f} ({one.last_step})") for one in named]
    return table(("loss", "first (step)", "last (step)"), lines) if lines else "The log holds no step line.\n"


def _merged(seen: Seen) -> str:
    made = seen.merged
    if made is None:
        return ""
    return (
        f"The adapters have rank {made.rank} and alpha {made.alpha:g}, on {made.layers} layers. "
        f"Rounding to bfloat16 left {made.swallowed:.2%} of the adapted numbers as they were.\n"
    )


def _evaluation(found: Sequence[Evaluated]) -> str:
    if not found:
        return "It was not evaluated before this folder was made.\n"
    lines = [
        (
            one.subject,
            one.mode,
            f"{one.rows} of {one.wanted}",
            _number(one.ce),
            _number(one.mse),
            f"{one.right} of {one.lettered}" if one.lettered else NONE,
            one.unparsed if one.lettered else NONE,
        )
        for one in found
        if SUBJECT.fullmatch(one.subject)
    ]
    heads = ("weights", "mode", "test rows", "CE", "MSE", "right answers", "without a letter")
    return table(heads, lines)


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """In markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(f"| {' | '.join(cell(one) for one in row)} |\n" for row in rows)


def cell(value: object) -> str:
    """One line of a table, whatever the value holds."""
    return shown.visible(" ".join(str(value).split())).replace("|", "\\|")[:500]
