"""Where the model of a finished run is, which file to take, and how it comes home. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ...checkpoints import models
from ...core import shown
from ...core.settings import Settings
from ...trainer.average import BASE_SHARE, base_share
from .report import Report


@dataclass(frozen=True)
class Result:
    """`fetch`: what fetch.yml is to be asked for; "" for what it brings without being asked."""

    path: str
    why: str
    fetch: str = ""

    def lines(self, host: str, playbook: str) -> str:
        """What a person reads, and the command alone in its line. `playbook`: with the options before it."""
        ask = f" -e training_fetch={self.fetch}" if self.fetch else ""
        said = (
            f"{host}  the model: {self.path}",
            f"  {self.why}; it comes home by:",
            f"  ansible-playbook {playbook} --limit {host}{ask}",
        )
        return "\n".join(map(shown.line, said))


def result_of(report: Report, settings: Settings, rank: int = 0) -> Result | None:
    """None before the end, on further nodes, and without a whole checkpoint."""
    step = report.newest_whole
    if report.phase != "finished" or rank or step is None:
        return None
    folder = f"{str(settings['training_checkpoint_dir']).rstrip('/')}/{step:07d}"
    form = next((one.form for one in report.checkpoints if one.step == step), "full")
    if form == "lora":
        merged = models.folder_of(str(settings["training_results_dir"]), step)
        if settings["training_lora_merge"] != "at_end":
            why = "the adapters; playbooks/merge.yml makes a whole model of them, and fetch.yml brings that one"
            return Result(f"{folder}/adapter.safetensors", why)
        if report.merge:
            why = f"the adapters; the whole model will be {merged}, and then fetch.yml brings that one"
            return Result(f"{folder}/adapter.safetensors", why)
        return Result(merged, f"the base merged with {folder}/adapter.safetensors", "merged")
    decay = float(settings["run_config_ema"])
    share = base_share(decay, step)
    if decay <= 0:
        return Result(f"{folder}/model.safetensors", "without an average, run_config_ema is 0", "model")
    if share > BASE_SHARE:
        why = f"ema.safetensors beside it is still {share:.0%} the base model, since run_config_ema is {decay:g}"
        return Result(f"{folder}/model.safetensors", why, "model")
    return Result(f"{folder}/ema.safetensors", f"the average of the last steps; {share:.0%} of it is the base model")
