"""GPUs that users rent, by the size that nvidia-smi names: for docs/fit.md and for the tests of the planner."""

from __future__ import annotations

MIB = 2**20
CARDS = {  # MiB
    "4090": 24564,
    "5090": 32607,
    "A100-40": 40960,
    "L40S": 46068,
    "A100-80": 81920,
    "H100": 81559,
    "H200": 143771,
    "B200": 183359,
}
