"""The prebuilt wheel of flash-attn that fits, by CUDA major, torch minor, C++11 ABI and Python tag."""

from __future__ import annotations

import re

from ...core.errors import FleetError

RELEASES = "https://github.com/Dao-AILab/flash-attention/releases/download"


def wheel_name(version: str, *, torch: str, cuda: str, cxx11_abi: bool, python: str, machine: str = "x86_64") -> str:
    """The file's name for what torch says of itself: torch "2.7.1+cu128", cuda "12.8", python "3.10".

    Raises FleetError where no wheel is published: torch without CUDA, CUDA other than 11 and 12, another machine.
    """
    cuda_major = re.match(r"(11|12)\.", f"{cuda or ''}.")
    torch_minor = re.match(r"(\d+\.\d+)\.", torch)
    if not cuda_major or not torch_minor or machine != "x86_64":
        raise FleetError(
            "flash-attn has no prebuilt wheel for this torch",
            variable="conda_env_flash_attn",
            found=f"torch {torch}, CUDA {cuda or 'none'}, {machine}",
            expected="a torch built for CUDA 11 or 12 on x86_64",
            remedy='choose another torch, or conda_env_flash_attn: "" where nothing imports it',
        )
    build = f"cu{cuda_major[1]}torch{torch_minor[1]}cxx11abi{'TRUE' if cxx11_abi else 'FALSE'}"
    tag = "cp" + python.replace(".", "")
    return f"flash_attn-{version}+{build}-{tag}-{tag}-linux_{machine}.whl"


def wheel_url(name: str, releases: str = RELEASES) -> str:
    """URL of a release's wheel; `releases` may name a mirror of the same layout."""
    version = name.split("-")[1].split("+")[0]
    return f"{releases.rstrip('/')}/v{version}/{name.replace('+', '%2B')}"
