"""The limits of an observation, in one place. docs/design.md lists them, and a test compares both."""

from __future__ import annotations

from ..core.errors import FleetError

HOST_SECONDS = 120.0  # for the whole look at a host
PART_SECONDS = 30.0  # for one part of it: a role, the facts, the environment
GPU_SECONDS = 90.0  # for the part that asks nvidia-smi
SMI_SECONDS = 75.0  # for nvidia-smi: without the persistence daemon the first call initialises every GPU
MOUNT_SECONDS = 2.0  # for a file system to report its size
MEMORY_BYTES = 4 << 30  # address space of a part, and of what it runs; the part that asks nvidia-smi has no such limit
ANSWER_BYTES = 16 << 20  # of a part, as JSON
FILE_BYTES = 64 << 20  # of a file that is read whole
RECORD_BYTES = 16 << 20  # of a record in JSON
HEADER_BYTES = 8 << 20  # of the header of a safetensors file; BAGEL's has 0.2 MB
SCRIPT_BYTES = 1 << 20  # of a script, a unit, a yaml
STATUS_BYTES = 256 << 10  # of data_status.pt: some 12 bytes for each worker of each rank
FOLDER_NAMES = 100_000  # in one folder
TREE_NAMES = 1_000_000  # below the folders whose size is counted


def too_many(path: str, number: int) -> FleetError:
    """For a folder that holds more than a look may take. It is no OSError: those stand for what is absent."""
    found = f"{path}: more than {number:,} names"
    return FleetError("a folder has too many names", found=found, remedy="choose a folder for this use alone")
