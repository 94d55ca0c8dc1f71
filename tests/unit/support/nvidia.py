"""An NVIDIA host as the role `nvidia` reads it, and what it decides."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.core import wire
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import decide as nvidia_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia import smi as nvidia_smi
from ansible_collections.canvas.fleet.plugins.module_utils.roles.nvidia.observe import Observation

from tests.unit.support.places import FIXTURES

RECORDED = FIXTURES / "nvidia-smi"


SETTINGS = {
    "nvidia_busy_ignore_below": "",
    "nvidia_gpu_expected": True,
    "nvidia_driver_branch": "580",
    "nvidia_cuda_version": "12.8",
    "nvidia_cuda_home": "/usr/local/cuda-12.8",
    "nvidia_toolkit": True,
    "nvidia_hold": True,
    "nvidia_reboot": "never",
    "nvidia_repository_url": "https://mirror.test/cuda/repos",
    "nvidia_repository_fingerprint": "",
    "fleet_state_dir": "/nowhere",
    "conda_env_root": "/srv/blockmoving/miniforge3",
}


BARE = {
    "kernel": "6.1.0-x",
    "boot": "this one",
    "machine": "x86_64",
    "release": {"ID": "debian", "VERSION_ID": "12"},
}


READY = {"toolkit": True, "toolkits": ["cuda-12.8"], "profile": nvidia_plan.profile_text("/usr/local/cuda-12.8")}


H100, V100, B200 = 0x2330, 0x1DB5, 0x2901


def says(name):
    """What observe_gpus() returns where nvidia-smi prints that fixture; "" for a host without the tool."""
    text = (RECORDED / name).read_text() if name else ""
    return nvidia_smi.observe_gpus("nvidia-smi" if name else "", lambda tool: text)


def decide(smi, changes=None, **settings):
    seen = wire.from_dict(Observation, {**BARE, **wire.to_dict(says(smi)), **(changes or {})})
    return nvidia_plan.decide(seen, {**SETTINGS, **settings}, None)


REAL = "580.159.04/nvidia-smi-q.xml"


PROFILE = "/etc/profile.d/canvas-fleet-cuda.sh is missing"


HEADERS = "linux-headers-6.1.0-x"


LOOSE = {
    "nvidia-open": {"version": "580.159.04-1", "held": False},
    "libnvidia-ml1": {"version": "580.159.04-1", "held": False},
    "nvidia-container-toolkit": {"version": "1.17.8-1", "held": False},
}


HELD = {name: {**package, "held": True} for name, package in LOOSE.items()}


KNOWN_KEY = "EB693B3035CD5710E231E123A4B469963BF863CC"
