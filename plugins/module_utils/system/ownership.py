"""Acting as the user to whom files belong."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..core.errors import FleetError


@dataclass(frozen=True)
class Owner:
    """Numeric owner of what is written; None leaves it to whoever writes."""

    uid: int | None = None
    gid: int | None = None


def owner_of(user: str, group: str) -> Owner:
    """Raises FleetError when the host has no such user or group."""
    try:
        return Owner(pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise FleetError(
            "the host has no such user or group",
            variable="fleet_user",
            found=f"{user}:{group}",
            expected="an account that fleet_agent made",
        ) from error


@contextmanager
def acting_as(uid: int, gid: int, supplementary: Sequence[int]) -> Iterator[None]:
    """Root becomes this user; who is not root stays who they are."""
    user, group, groups = os.geteuid(), os.getegid(), os.getgroups()
    if user == 0:
        os.setgroups(supplementary)
        os.setegid(gid)
        os.seteuid(uid)
    try:
        yield
    finally:
        if user == 0:
            os.seteuid(user)
            os.setegid(group)
            os.setgroups(groups)
