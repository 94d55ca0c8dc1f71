"""Long work that runs on the hosts, as text. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..core import table
from ..core.progress import duration
from ..machine.long_work import Work

HEAD = ("host", "long work", "since", "for", "progress")


def work_lines(works: Mapping[str, Sequence[Work]], width: int = 0) -> list[str]:
    """The works of each host, for a person; nothing where nothing runs."""
    rows = [
        (host, one.name, time.strftime("%H:%M UTC", time.gmtime(one.since)), duration(one.seconds), one.progress)
        for host, running in works.items()
        for one in running
    ]
    if not rows:
        return []
    attach = "site.yml attaches to it again; `systemctl stop UNIT` on the host ends it. Units: "
    units = ", ".join(dict.fromkeys(one.unit for running in works.values() for one in running))
    return [*table.lines([HEAD, *rows], width=width), attach + units]
