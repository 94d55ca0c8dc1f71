"""A training's unit as it should be: the host's settings and its place in the run, and what follows from them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from ...checkpoints.seal import kept_dir_of
from ...core import paths, state
from ...core.settings import Settings, named
from ...core.topology import Topology
from ...evaluation import asked, spec

UNIT_DIR = "/etc/systemd/system"
NEW_KEY = "new"  # no fingerprint
PREFIX = "training_"
# What a converge does, not how the training runs: a change of these makes no running training older.
COMMANDS = (
    *("training_state", "training_apply", "training_follow", "training_restore_step", "training_merge_step"),
    *("training_fetch", "training_fetch_step", "training_fetch_dir", "training_logs_lines"),
)
ALONE = Topology("", (), 0, 1, 0, "localhost", 0)


@dataclass(frozen=True)
class Texts:
    """The unit's text, that of the unit before it, which makes the GPUs' nodes, and of those after it, which merge
    adapters and evaluate; "" where nothing is merged or evaluated."""

    unit: str = ""
    gpu: str = ""
    merge: str = ""
    evaluation: str = ""


@dataclass(frozen=True)
class Want:
    """The wanted unit. `topology` is ALONE where it is not needed. `texts` come from the controller and are empty where
    the unit is neither compared nor written."""

    settings: Settings  # of all roles, typed by their specs
    topology: Topology = ALONE
    given_key: str = ""  # fingerprint of the secret of the run that the host is given now
    texts: Texts = Texts()

    @property
    def unit(self) -> str:
        """Without .service."""
        return str(self.settings["training_unit"])

    @property
    def run(self) -> str:
        return str(self.settings["training_run"])

    @property
    def user(self) -> str:
        return str(self.settings["fleet_user"])

    @property
    def group(self) -> str:
        return str(self.settings["fleet_group"])

    @property
    def script(self) -> str:
        return str(self.settings["run_config_script"])

    @property
    def working_dir(self) -> str:
        return str(self.settings["canvas_code_dir"])

    @property
    def results_dir(self) -> str:
        return str(self.settings["training_results_dir"])

    @property
    def checkpoint_dir(self) -> str:
        return str(self.settings["training_checkpoint_dir"])

    @property
    def state_dir(self) -> str:
        return str(self.settings["fleet_state_dir"])

    @property
    def key_id(self) -> str:
        """Fingerprint of the run's secret; "" for the one that the host holds, NEW_KEY for one that is to be made."""
        return self.given_key or (NEW_KEY if self.topology.new_secret else "")

    @property
    def wandb_key_file(self) -> str:
        """ "" when W&B is off."""
        return state.wandb_key(self.settings) if self.settings["run_config_enable_wandb"] else ""

    @property
    def path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}.service"

    @property
    def gpu_path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}-gpu.service"

    @property
    def merge_path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}-merge.service"

    @property
    def evaluation_path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}-evaluation.service"

    @property
    def evaluation_dir(self) -> str:
        return str(self.settings["evaluation_dir"])

    @property
    def evaluation_wanted(self) -> bool:
        """By the settings alone, as an observation knows them: each node of the run answers the same."""
        return self.settings["evaluation_at_end"] != "none" and self.settings["evaluation_test_file"] != ""

    @property
    def evaluates(self) -> bool:
        """Is the run evaluated when it is finished? The first node has the checkpoints."""
        return self.evaluation_wanted and not self.topology.node_rank

    @property
    def merges(self) -> bool:
        """Are adapters merged when the run is finished? Every node has the same ones, so the first alone does it."""
        wanted = self.settings["training_profile"] == "lora" and self.settings["training_lora_merge"] == "at_end"
        return wanted and not self.topology.node_rank

    @property
    def record(self) -> str:
        """Root's folder of this unit: spec.json, started, ended, finished, kernel."""
        return f"{self.state_dir}/training/{self.unit}"

    @property
    def own(self) -> str:
        """The training user's folder in it (supervisor/record.py)."""
        return f"{self.record}/own"

    @property
    def has_peers(self) -> bool:
        """Do the run's nodes ask each other?"""
        return self.topology.nnodes > 1 and self.settings["training_peer_port"] > 0

    @property
    def secret_path(self) -> str:
        """Root's file with the secret of the run; systemd hands it to the supervisor."""
        return f"{self.record}/peer-secret"

    @property
    def spec_path(self) -> str:
        return f"{self.record}/spec.json"

    @property
    def evaluation_spec_path(self) -> str:
        """Apart from spec.json, since a running training does not depend on it."""
        return f"{self.record}/evaluation.json"

    @property
    def payloads(self) -> str:
        return f"{self.state_dir}/supervisor"

    @property
    def errors(self) -> str:
        return f"{self.own}/errors.log"

    @property
    def log(self) -> str:
        return f"{self.results_dir}/log.txt"

    @property
    def kept(self) -> str:
        return kept_dir_of(self.results_dir, self.checkpoint_dir, str(self.settings["training_kept_dir"]))

    @property
    def watched(self) -> tuple[str, ...]:
        """Files whose content a start depends on."""
        return (self.path, self.spec_path, self.script, str(self.settings["run_config_yaml"]))

    @property
    def needed(self) -> tuple[str, ...]:
        """Paths whose file systems must be there before a start: what it writes, and what it reads."""
        own = (self.results_dir, self.checkpoint_dir, self.kept, self.state_dir)
        read = (str(self.settings[name]) for name in ("weights_dir", "conda_env_prefix", "dataset_train_dir"))
        return (*own, self.working_dir, self.script, *read)

    @property
    def writable(self) -> tuple[str, ...]:
        """Folders that the training may write to. Hard links do not cross mounts, so that checkpoints and what is kept
        of them come into one where they have a folder in common."""
        common = os.path.commonpath([self.checkpoint_dir, self.kept])
        folders = (self.results_dir, *((common,) if common != "/" else (self.checkpoint_dir, self.kept)))
        return (*(one for one in dict.fromkeys(folders) if not _inside(one, folders)), self.own)

    @property
    def evaluation_writable(self) -> tuple[str, ...]:
        folders = (self.results_dir, self.evaluation_dir)
        return tuple(one for one in dict.fromkeys(folders) if not _inside(one, folders))

    def spec(self) -> str:
        """The text of spec.json: every setting of the role by its name without prefix, and what it takes of others."""
        own = {
            name[len(PREFIX) :]: value
            for name, value in self.settings.items()
            if name.startswith(PREFIX) and name not in COMMANDS
        }
        trained = {
            name: named(self.settings, f"run_config_{name}") for name in ("save_every", "total_steps", "auto_resume")
        }
        places = {"script": self.script, "working_dir": self.working_dir, "record": self.record, "log": self.log}
        values = {**own, **trained, **places, "watched": self.watched, "kept_dir": self.kept, **self._nodes()}
        if self.merges:
            values["merge"] = {name: self.settings[name] for name in ("weights_dir", "weights_files")}
        values["owned"] = {name: str(value) for name in paths.APART if (value := self.settings.get(name))}
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    def evaluation_spec(self) -> str:
        """The text of evaluation.json: the newest checkpoint and the base, whatever playbooks/evaluate.yml is asked for
        now. "" where nothing is evaluated."""
        if not self.evaluates:
            return ""
        given = {name: named(self.settings, name) for name in asked.NAMES}
        own = {"step": spec.NEWEST, "mode": self.settings["evaluation_at_end"], "compare_base": True}
        return (
            json.dumps({**given, **{f"evaluation_{name}": one for name, one in own.items()}}, indent=1, sort_keys=True)
            + "\n"
        )

    def _nodes(self) -> dict[str, Any]:
        names = ("nnodes", "node_rank", "hosts", "addresses", "master_addr", "checkpoint_bytes")
        shape = self.topology.as_dict()
        shards = int(self.settings["run_config_num_shard"]) or self.topology.num_shard
        return {**{name: shape[name] for name in names}, "shards": shards}


def _inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(path != one and path.startswith(one.rstrip("/") + "/") for one in folders)
