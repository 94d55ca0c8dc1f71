"""The one catalogue of what can be wrong with a run, by code; docs/findings.md is generated from it.

An entry is added to the part that it belongs to: catalogue_host, catalogue_data or catalogue_run.
"""

from __future__ import annotations

from . import of_data, of_host, of_reach, of_run
from .entry import Entry

PARTS = (of_host, of_reach, of_run, of_data)
CATALOGUE: dict[str, Entry] = {code: entry for part in PARTS for code, entry in part.ENTRIES.items()}
