"""Acting as the user to whom files belong."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..core.errors import FleetError


@contextmanager
def as_owner(folder: str) -> Iterator[None]:
    """As the user whom the checkpoints belong to: nothing of root's can be reached through a link that lies there.

    Raises FleetError when there is no such folder.
    """
    try:
        info = os.stat(folder)
    except OSError as error:
        found = f"{folder}: {error.strerror}"
        raise FleetError("there are no checkpoints", variable="training_checkpoint_dir", found=found) from error
    with acting_as(info.st_uid, info.st_gid, [info.st_gid]):
        yield


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
