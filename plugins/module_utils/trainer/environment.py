"""The environment of the trainer's processes: the script's exports on top of systemd's variables.

A test compares it with the script's template. The imports are tested in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..system.digests import sha256
from ..system.programs import SYSTEM_PATH


def given(settings: Mapping[str, object]) -> dict[str, str]:
    """run_config_env as texts."""
    asked = settings.get("run_config_env")
    return {str(name): str(value) for name, value in asked.items()} if isinstance(asked, Mapping) else {}


@dataclass(frozen=True)
class Script:
    """Exports of the script that choose libraries."""

    cuda_home: str = ""  # "" without a GPU
    exports: Mapping[str, str] = field(default_factory=dict)  # the user's own, in place of the script's

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Script:
        expected = str(settings["nvidia_gpu_expected"]).lower() == "true"
        return cls(str(settings["nvidia_cuda_home"]) if expected else "", given(settings))

    @property
    def digest(self) -> str:
        return sha256(json.dumps([self.cuda_home, sorted(self.exports.items())]))

    def environment(self, prefix: str) -> dict[str, str]:
        """`prefix`: the conda environment that the script uses."""
        found = {"CONDA_PREFIX": prefix, "PATH": f"{prefix}/bin:{SYSTEM_PATH}"}
        if self.cuda_home:
            found["CUDA_HOME"], found["PATH"] = self.cuda_home, f"{self.cuda_home}/bin:{found['PATH']}"
            found["LD_LIBRARY_PATH"] = f"{self.cuda_home}/lib64"
        return {**found, **self.exports}
