"""The one catalogue of what can be wrong with a run, by code; docs/findings.md is generated from it.

An entry is added to the part that it belongs to: catalogue_host, catalogue_data or catalogue_run.
"""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils import catalogue_data, catalogue_host, catalogue_run
from ansible_collections.canvas.fleet.plugins.module_utils.catalogue_entry import Entry

PARTS = (catalogue_host, catalogue_run, catalogue_data)
CATALOGUE: dict[str, Entry] = {code: entry for part in PARTS for code, entry in part.ENTRIES.items()}
