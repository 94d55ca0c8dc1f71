"""run_config_optimizer in the deployed code: the flag --fleet_optimizer, and an optimizer made by it.

- adamw_fused computes AdamW in one kernel, without temporaries of 4 B per parameter. A checkpoint brings the setting of
  the optimizer that wrote it, so it is set again whenever a state is loaded.
- adamw_8bit is that of bitsandbytes, whose moments take 2 B per parameter instead of 8.
Without this patch (run_config_optimizer: adamw) the optimizer is upstream's.
"""

from __future__ import annotations

from .patch import Edit, Patch, field
from .patch_digests import versions

HELPERS = """\
# canvas-fleet begin (run_config_optimizer; the role canvas_code puts this in and takes it out)
def fleet_adamw(kind, params, **options):
    if kind == "adamw_8bit":
        try:
            from bitsandbytes.optim import AdamW8bit
        except Exception as error:  # absent, or built for another CUDA
            raise RuntimeError(f"run_config_optimizer adamw_8bit: bitsandbytes cannot be imported: {error}") from error
        return AdamW8bit(params, **options)
    if kind not in ("adamw", "adamw_fused"):
        raise ValueError(f"--fleet_optimizer {kind} is none of adamw, adamw_fused, adamw_8bit")
    fused = True if kind == "adamw_fused" else None
    optimizer = torch.optim.AdamW(params, fused=fused, **options)

    def again(optimizer, state):  # a checkpoint brings what it was written with
        for group in state["param_groups"]:
            group["fused"] = fused

    optimizer.register_load_state_dict_pre_hook(again)
    return optimizer
# canvas-fleet end


"""

_MAIN = "def main():\n"
_FIELDS = "    # --- distributed training / FSDP ---\n"

TRAINER = Patch(
    setting="run_config_optimizer",
    path="train/pretrain_unified_navit.py",
    name="optimizer",
    versions=versions("train/pretrain_unified_navit.py", "optimizer"),
    edits=(
        Edit(_FIELDS, field("fleet_optimizer", "str", '"adamw"', "adamw, adamw_fused or adamw_8bit.") + "\n" + _FIELDS),
        Edit(_MAIN, HELPERS + _MAIN),
        Edit(
            "    optimizer = torch.optim.AdamW(\n",
            "    optimizer = functools.partial(fleet_adamw, training_args.fleet_optimizer)(  # canvas-fleet\n",
        ),
    ),
)
