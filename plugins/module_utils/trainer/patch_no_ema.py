"""run_config_ema: 0 in the deployed code, with every profile: no EMA copy is made.

ema.safetensors of a checkpoint is then another name of model.safetensors, which an EMA of decay 0 is.
"""

from __future__ import annotations

from .patch import Edit, Patch
from .patch_digests import versions

HELPERS = '''\
# canvas-fleet begin (run_config_ema: 0; the role canvas_code puts this in and takes it out)
def fleet_ema_name(ema_model, folder):
    """Without an EMA copy (--ema 0) the EMA is the model: one file under both names."""
    if ema_model is None:
        model, ema = (os.path.join(folder, f"{name}.safetensors") for name in ("model", "ema"))
        if os.path.lexists(ema):
            os.remove(ema)
        try:
            os.link(model, ema)
        except OSError:
            shutil.copyfile(model, ema)
# canvas-fleet end


'''

_WRAP = "def fsdp_wrapper(original_model, fsdp_config, ignored_modules=[]):\n"
_EMA_SETUP = "def fsdp_ema_setup(ema_model, fsdp_config, ignored_modules=[]):\n"
_EMA_UPDATE = "def fsdp_ema_update(ema_model, model, decay=0.9999):\n"
_SAVED = 'save_file(model_state_dict, os.path.join(save_path, "model.safetensors"))\n'

FSDP_UTILS = Patch(
    setting="run_config_ema: 0",
    path="train/fsdp_utils.py",
    name="no_ema",
    versions=versions("train/fsdp_utils.py", "no_ema"),
    edits=(
        Edit("import os\n", "import os\nimport shutil  # canvas-fleet\n"),
        Edit(_WRAP, HELPERS + _WRAP),
        Edit(_SAVED, _SAVED + "                fleet_ema_name(ema_model, save_path)  # canvas-fleet\n"),
        Edit(
            _EMA_SETUP,
            _EMA_SETUP + "    if ema_model is None:  # canvas-fleet: --ema 0\n        return None\n",
        ),
        Edit(
            _EMA_UPDATE,
            _EMA_UPDATE + "    if ema_model is None:  # canvas-fleet: --ema 0\n        return\n",
        ),
    ),
)

TRAINER = Patch(
    setting="run_config_ema: 0",
    path="train/pretrain_unified_navit.py",
    name="no_ema",
    versions=versions("train/pretrain_unified_navit.py", "no_ema"),
    edits=(
        Edit(
            "    ema_model = deepcopy(model)\n",
            "    ema_model = deepcopy(model) if training_args.ema > 0 else None  # canvas-fleet\n",
        ),
        Edit(
            "    ema_model.eval()\n",
            "    if ema_model is not None:  # canvas-fleet: --ema 0\n        ema_model.eval()\n",
        ),
    ),
)
