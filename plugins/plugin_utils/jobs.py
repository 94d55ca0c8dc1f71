# SPDX-License-Identifier: Apache-2.0
"""The settings that each worker of long work gets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..module_utils.core.errors import FleetError
from ..module_utils.evaluation import asked
from ..module_utils.system import files


@dataclass(frozen=True)
class Job:
    """Settings are named here; two jobs with the same values of them are the same work."""

    parts: tuple[str, ...] = ()  # names, or beginnings of names that end with _
    without: str = ""  # the beginning that the worker's own names lack
    named: Mapping[str, str] = field(default_factory=dict)  # the worker's name for a setting
    files: Mapping[str, str] = field(default_factory=dict)  # … for the text of a file of the controller
    topology: tuple[str, ...] = ()  # parts of the run's topology
    secrets: tuple[str, ...] = ()  # passed separately, and in no record
    environment: str = ""
    folders: tuple[str, ...] = ()  # made for the user where they are absent
    user: str = ""  # "" for root
    python: str = ""  # "" for the system's
    python_of: str = ""  # … or an environment, whose Python it is
    noun: str = ""  # what is counted, where the work does not say it

    def holds(self, name: str) -> bool:
        return name in self.parts or any(name.startswith(one) for one in self.parts if one.endswith("_"))


CREDENTIALS = "fleet_credentials"
PORT = re.compile(r":\d+$")
MODEL = ("weights_dir", "weights_repo", "weights_revision", "weights_endpoint")
JOBS = {
    "fleet_agent": Job(
        parts=(
            "fleet_root",
            "fleet_user",
            "fleet_group",
            "fleet_readers",
            "fleet_state_dir",
            "fleet_agent_",
            "conda_env_flash_attn_from",
        ),
        named={
            "python": "fleet_agent_base_python",
            "index_url": "fleet_pip_index_url",
            "find_links": "fleet_pip_find_links",
        },
        files={"ca_pem": "fleet_ca_bundle"},
        secrets=(CREDENTIALS,),
        python="fleet_agent_base_python",
    ),
    "conda_env": Job(
        parts=(
            "conda_env_",
            "fleet_state_dir",
            "run_config_use_flex",
            "run_config_optimizer",
            "run_config_env",
            "nvidia_cuda_home",
            "nvidia_gpu_expected",
        ),
        without="conda_env_",
        named={"pip_find_links": "fleet_pip_find_links"},
        environment="conda_env_environment",
        secrets=(CREDENTIALS,),
        folders=("conda_env_state_dir",),
        user="fleet_user",
    ),
    "dataset": Job(
        parts=("dataset_", "fleet_state_dir", *MODEL),
        topology=("world_size", "num_workers"),
        secrets=("weights_token", CREDENTIALS),
        environment="dataset_environment",
        user="fleet_user",
        python="fleet_agent_python",
        noun="rows",
    ),
    "weights": Job(
        parts=("weights_", "fleet_state_dir"),
        secrets=("weights_token",),
        folders=("weights_dir",),
        user="fleet_user",
        python="fleet_agent_python",
    ),
    "training": Job(  # the merge of adapters
        parts=(
            "training_results_dir",
            "training_checkpoint_dir",
            "training_kept_dir",
            "training_merge_step",
            "weights_dir",
            "weights_files",
        ),
        user="fleet_user",
        python_of="conda_env_prefix",
    ),
    "evaluation": Job(parts=asked.NAMES, user="fleet_user", python_of="conda_env_prefix", noun="rows"),
    "export": Job(
        parts=(
            "training_results_dir",
            "training_checkpoint_dir",
            "training_kept_dir",
            "weights_dir",
            "weights_files",
            "run_config_ema",
            "export_step",
            "export_weights",
        ),
        user="fleet_user",
    ),
    "nvidia": Job(named={"state_dir": "fleet_state_dir"}),
}


def spec_of(job: Job, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The worker's spec without what the topology says. Reads `files`; raises FleetError for one that is not there."""
    left_out = {*job.secrets, job.environment}
    spec = {
        name[len(job.without) :] if name.startswith(job.without) else name: value
        for name, value in settings.items()
        if job.holds(name) and name not in left_out
    }
    spec.update({own: settings[name] for own, name in job.named.items()})
    spec.update({own: _text(name, str(settings[name])) for own, name in job.files.items()})
    return spec


def logins(given: Mapping[str, str], own: Any, settings: Mapping[str, Any]) -> dict[str, str]:
    """Of all logins those of servers that `own`, the values of one work, names; and of servers that no setting names,
    such as the one to which a package index refers. A name with another port, or with a dot at its end, is the same
    server's."""
    return {
        server: login for server, login in given.items() if _names(own, server) or not _names(dict(settings), server)
    }


def _names(values: Any, server: str) -> bool:
    name = re.escape(PORT.sub("", server).rstrip("."))
    named = re.compile(rf"(?<![\w.-]){name}(?![\w-]|\.\w)", re.IGNORECASE)
    return any(named.search(text) for text in _texts(values))


def _texts(values: Any) -> Iterator[str]:
    """Each text that is in there, also a key."""
    if isinstance(values, Mapping):
        values = [*values, *values.values()]
    if isinstance(values, (list, tuple)):
        for value in values:
            yield from _texts(value)
    else:
        yield str(values)


def _text(variable: str, path: str) -> str:
    """The text of a file of the controller; "" where none is named."""
    if not path:
        return ""
    try:
        return files.read(os.path.expanduser(path)).decode(errors="replace")
    except OSError as error:
        raise FleetError(
            "a file of the controller cannot be read", variable=variable, found=f"{path}: {error.strerror}"
        ) from error
