"""Root's note of what a start is made from: <record>/started. The unit writes it before each start.

Script and yaml lie where the training's user can write. They are read as that user, up to a limit, and only where they
are plain files: a link, a FIFO or a device at their path gives root nothing and costs it nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress

from ..evaluation import state
from ..system import files
from ..system.digests import of_small

BOOT = "/proc/sys/kernel/random/boot_id"


def note(spec_path: str, environment: Mapping[str, str]) -> int:
    """Runs as root, before the supervisor. Ends evaluations, which hold the GPUs and go on when they are called again.
    Forgets how the last start ended, and an earlier boot's kernel messages."""
    state.stop_all()
    spec = json.loads(files.read(spec_path))
    record, boot = str(spec["record"]), files.kernel(BOOT).decode().strip()
    files.remove(f"{record}/ended")
    if boot not in files.text(f"{record}/kernel", follow=False):
        files.remove(f"{record}/kernel")
    lines = [f"invocation {environment.get('INVOCATION_ID', '')}", f"boot {boot}"]
    with suppress(OSError):
        log, size = files.open_plain(spec["log"])
        log.close()
        lines.append(f"log_bytes {size}")
    found = {path: of_small(path) for path in spec["watched"]}
    lines += [f"{one}  {path}" for path, one in found.items() if one]
    files.write(f"{record}/started", "".join(f"{line}\n" for line in lines).encode(), durable=False)
    return 0
