"""Why a host is not judged, in one word: the same in the plan and in the fleet table. Pure."""

from __future__ import annotations

from ..findings import of_reach
from .observation import HostSeen

JUDGED = "judged"
NO_ANSWER = "no answer"  # no login on it: the network, SSH, or the account
FAILED = "failed"  # a login, and no answer that can be read
NOT_ASKED = "not asked"  # left out by --limit, or its variables are wrong
NO_LOGIN = ("SSH_", "HOST_KEY_", "HOST_UNREACHABLE")
FAILS = {*of_reach.ENTRIES, "HOST_ANSWER_MALFORMED"} - {"HOST_MISSING"}


def state(host: HostSeen) -> str:
    if host.judged:
        return JUDGED
    codes = {found.code for found in host.findings if found.refuses}
    if any(code.startswith(NO_LOGIN) for code in codes):
        return NO_ANSWER
    return FAILED if codes & FAILS else NOT_ASKED
