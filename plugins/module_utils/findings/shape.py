"""The type of a finding, without the catalogue's texts. Code that observes a host needs only this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """Something wrong with a run. The sentences have no final stop; `variable` names the setting to change."""

    code: str
    severity: str
    host: str
    found: str
    expected: str
    because: str
    remedy: str
    run: str = ""
    variable: str = ""
    accepted: bool = False

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def refuses(self) -> bool:
        """True when the run may not start because of this."""
        return self.severity == "error" and not self.accepted
