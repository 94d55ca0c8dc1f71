"""The catalogue of findings, by code; docs/findings.md is generated from it.

Entries stand in of_reach, of_host, of_data, of_run and of_evaluation.
"""

from __future__ import annotations

from . import of_data, of_evaluation, of_host, of_reach, of_run
from .entry import Entry

PARTS = (of_host, of_reach, of_run, of_data, of_evaluation)
CATALOGUE: dict[str, Entry] = {code: entry for part in PARTS for code, entry in part.ENTRIES.items()}
