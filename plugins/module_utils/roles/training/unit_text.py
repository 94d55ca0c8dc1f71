"""Values of the unit's templates. Pure. templates/training.service.j2 gives the reasons."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...core.errors import FleetError
from ...core.settings import named
from ...core.version import VERSION
from ...peers.secret import CREDENTIAL
from . import payload
from .have import SETUP
from .want import Texts, Want

Fill = Callable[..., str]  # (role, template, values) -> text; plugin_utils/render.py is one
# supervisor/main.py: a failure that another start would repeat, and a stop that was asked for.
FINAL, STOPPED = 78, 79
PATHS = (
    "run_config_script",
    "canvas_code_dir",
    "training_results_dir",
    "training_checkpoint_dir",
    "fleet_state_dir",
    "weights_dir",
    "conda_env_prefix",
    "dataset_train_dir",
    "evaluation_dir",
)  # that the unit's text holds
# Where torch compiles to, as in the script of the training: the sandbox leaves no home.
CACHES = {"XDG_CACHE_HOME": "", "TRITON_CACHE_DIR": "/triton", "TORCHINDUCTOR_CACHE_DIR": "/inductor"}
KILL_SECONDS = 60  # beyond the wait for a save: to end the processes and to seal the save


def texts(want: Want, fill: Fill) -> Texts:
    """The unit, and those before it and after it. Raises FleetError for names and paths that a unit cannot hold."""
    _check(want)
    filled = values(want)

    def text(name: str, wanted: bool = True) -> str:
        return fill("training", f"training{name}.service.j2", filled) if wanted else ""

    return Texts(text(""), text("-gpu"), text("-merge", want.merges), text("-evaluation", want.evaluates))


def values(want: Want) -> dict[str, object]:
    """One flat mapping for all templates."""
    after = [name for name, wanted in {"merge": want.merges, "evaluation": want.evaluates}.items() if wanted]
    credentials = {"wandb_api_key": want.wandb_key_file, CREDENTIAL: want.secret_path if want.has_peers else ""}
    return {
        "version": VERSION,
        "unit": want.unit,
        "run": want.run,
        "user": want.user,
        "group": want.group,
        "working_dir": want.working_dir,
        "results_dir": want.results_dir,
        "python": f"{want.settings['conda_env_prefix']}/bin/python",
        "then": f"; systemctl start --no-block {want.unit}-{after[0]}.service" if after else "",
        "then_evaluate": len(after) > 1,
        "written": want.evaluation_writable,
        "caches": [f"{name}={want.results_dir}/.cache{below}" for name, below in CACHES.items()],
        "record": want.record,
        "needed": want.needed,
        "writable": want.writable,
        "payload": payload.path(want.payloads),
        "spec_path": want.spec_path,
        "after_spec_path": want.evaluation_spec_path,
        "credentials": {name: path for name, path in credentials.items() if path},
        "restart": "on-failure" if want.settings["training_restarts"] else "no",
        "final_statuses": " ".join(map(str, (FINAL, *sorted(SETUP)))),
        "stopped_status": STOPPED,
        "stop_seconds": want.settings["training_stop_seconds"] + KILL_SECONDS,
    }


def _check(want: Want) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,200}", want.unit):
        raise FleetError(
            "the unit's name has characters that systemd refuses",
            variable="training_run",
            found=want.unit,
            expected="letters, digits, and : _ . -",
        )
    for name in PATHS:
        value = str(named(want.settings, name))
        if not value.startswith("/") or re.search(r"[\x00-\x1f\x7f]", value):
            raise FleetError("a unit needs a full path here", variable=name, found=repr(value), expected="/…")
