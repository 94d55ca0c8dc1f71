"""The folders of a training's unit: those of root, and those of the training's user.

The user's folders are read and made as that user, because root may be nobody on a network file system.
"""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import AbstractContextManager

from ...core.errors import FleetError
from ...system import folders
from ...system.ownership import Owner, acting_as
from .want import Want


def ready(want: Want) -> bool:
    """True when each folder exists, with the right owner and access."""
    if not all(os.path.isdir(path) and not folders.is_closed(path) for path in _roots(want)):
        return False
    try:
        user = pwd.getpwnam(want.user).pw_uid
        with _as_user(want):
            return all(os.path.isdir(path) and os.stat(path).st_uid == user for path in _users(want))
    except (OSError, KeyError):
        return False


def make(want: Want) -> None:
    """Raises FleetError for a problem that a user must solve."""
    try:
        user, group = pwd.getpwnam(want.user).pw_uid, grp.getgrnam(want.group).gr_gid
    except KeyError as error:
        raise FleetError(
            "the training's user or group does not exist on this host", variable="fleet_user", found=str(error.args[0])
        ) from None
    for path in _roots(want):
        folders.make_open(path)
    for path, variable in _users(want).items():
        if os.path.lexists(path) and not os.path.isdir(path):
            raise FleetError("a folder is needed here", found=f"{path} is no folder", variable="training_results_dir")
        try:
            _make(path, want, user, group)
        except OSError as error:
            raise FleetError(
                "a folder of the training cannot be made",
                variable=variable,
                found=f"{error.filename or path}: {error.strerror}",
                expected=f"a folder that {want.user} owns and can reach",
                remedy=f"make it as {want.user} (or root, where the file server accepts root: no_root_squash), or set "
                f"{variable} to a folder on a disk of the host",
            ) from error


def _make(path: str, want: Want, user: int, group: int) -> None:
    try:
        with _as_user(want):
            folders.make(path)
    except PermissionError:  # the folder above is root's
        folders.make(path)
    if not os.path.islink(path) and os.stat(path).st_uid != user:
        folders.give(path, Owner(user, group))
    with _as_user(want):
        os.stat(path)


def _roots(want: Want) -> tuple[str, ...]:
    """An earlier converge under a login's umask of 027 may have closed them."""
    return (want.state_dir, os.path.dirname(want.record), want.record, want.payloads)


def _users(want: Want) -> dict[str, str]:
    """Path -> the setting that chose it."""
    return {
        want.results_dir: "training_results_dir",
        want.checkpoint_dir: "training_checkpoint_dir",
        want.kept: "training_kept_dir",
        want.own: "fleet_state_dir",
        **({want.evaluation_dir: "evaluation_dir"} if want.evaluation_wanted else {}),
    }


def _as_user(want: Want) -> AbstractContextManager[None]:
    found = pwd.getpwnam(want.user)
    return acting_as(found.pw_uid, found.pw_gid, os.getgrouplist(want.user, found.pw_gid))
