"""The one form that every role has: what it wants to change.

A role offers two functions:

    observe(settings) -> Observation on the host, reads only, standard library only, Python 3.9 and newer;
                                     an absent thing is reported as absent, never raised
    decide(seen, settings, topology) -> RolePlan
                                     pure, runs on the controller; `seen` is what observe() returned

`settings` is one flat mapping of every role's variables for this host, typed by the argument specs.
A secret stands in it only as "sha256:<hex>" of its value, or "" when it is not set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..findings.finding import Finding

ROLES = ("fleet_agent", "nvidia", "conda_env", "canvas_code", "dataset", "weights", "run_config", "training")


@dataclass(frozen=True)
class RolePlan:
    """The changes of a role on one host. Without reasons it is in sync and is skipped."""

    reasons: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)  # what the role takes from the plan (texts, digests)
    summary: str = ""  # a few words for the table when in sync ("9 files, 29.2 GB, revision 1a2b3c4")
    digests: Mapping[str, str] = field(default_factory=dict)  # of files, by path, as the role leaves them

    @property
    def in_sync(self) -> bool:
        return not self.reasons
