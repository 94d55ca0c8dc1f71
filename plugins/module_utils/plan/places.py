"""Rules about folders: the files of a variable never lie in a folder of another variable, of root or of the system."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import replace

from ..core.paths import ABOVE_CHECKPOINTS, CHECKPOINTS, CODE, FILES, FOLDERS, READ
from ..findings.finding import Finding, finding
from ..system.places import Spot, below

# Of the system: nobody's data lies in them. Of some only what lies deeper can be somebody's own.
SYSTEM = (
    *("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/root", "/run", "/sbin"),
    *("/sys", "/usr", "/var/cache", "/var/lock", "/var/log", "/var/mail", "/var/run", "/var/spool"),
)
SHARED = ("/", "/home", "/tmp", "/var", "/var/lib", "/var/tmp")  # noqa: S108 - named to be refused
WRITTEN = ("run_config_script", "run_config_yaml")  # by root, for the account
WRITTEN_IN = ("fleet_root", *CODE, "training_results_dir")
# The folder of a variable, and what may be or lie in it. What nobody names here lies in no other's folder.
HOLDS: Mapping[str, tuple[str, ...]] = {
    "canvas_code_checkout": ("canvas_code_dir", *WRITTEN),
    "canvas_code_dir": ("canvas_code_checkout", *WRITTEN),
    "conda_env_root": ("conda_env_prefix", "conda_env_state_dir"),
    "dataset_output_dir": ("dataset_train_dir", "dataset_train_file", "dataset_info_path"),
    "dataset_train_dir": ("dataset_train_file", "dataset_info_path"),
    "fleet_state_dir": ("conda_env_state_dir", "fleet_agent_dir"),
    "training_results_dir": ("evaluation_dir", "training_checkpoint_dir", "training_kept_dir", *WRITTEN),
}
NOT_IN_ROOT = ("fleet_agent_dir", "fleet_state_dir")  # what root writes and runs there would be the account's


def named(settings: Mapping[str, object]) -> dict[str, Spot]:
    """By their texts alone, before a host is asked."""
    given = {name: str(settings.get(name) or "") for name in (*READ, *FILES, *FOLDERS, CHECKPOINTS)}
    return {name: Spot(posixpath.normpath(f"/{path.lstrip('/')}")) for name, path in given.items() if path}


def judge(spots: Mapping[str, Spot]) -> list[Finding]:
    """Findings about the paths of variables, one for each; other names among `spots` do not matter."""
    if found := _among_checkpoints(spots):
        return [found]
    own = {name: spots[name] for name in (*FILES, *FOLDERS, CHECKPOINTS) if name in spots}
    return [found for name in own if (found := _misplaced(name, own))]


def judge_real(spots: Mapping[str, Spot], settings: Mapping[str, object]) -> list[Finding]:
    """Findings about the places where the paths of `settings` really lie on a host."""
    given = named(settings)
    wrong_as_named = {one.variable for one in judge(given)}
    return [
        one if one.variable in wrong_as_named else replace(one, remedy=_by_link(one.variable, given.get(one.variable)))
        for one in judge(spots)
    ]


def _by_link(variable: str, named: Spot | None) -> str:
    path = named.path if named else variable
    return (
        f"{path} leads there on the host by a link, a mount or a name that differs in case: look at it with "
        f"readlink -f {path}, take it away if nobody wanted it, or set {variable} to another path"
    )


def _among_checkpoints(spots: Mapping[str, Spot]) -> Finding | None:
    """The start of a training moves what is no checkpoint out of their folder, and so does a restore."""
    folder = spots.get(CHECKPOINTS, Spot())
    found = [
        f"{name} ({spots[name].path})"
        for name in (*READ, *FILES, *FOLDERS)
        if name in spots
        and (spots[name].lies_in(folder) or (name not in ABOVE_CHECKPOINTS and folder.lies_in(spots[name])))
    ]
    if not found:
        return None
    given = f"{folder.path} is, holds or lies in {', '.join(found)}"
    expected = "a folder for checkpoints alone"
    return finding("VARIABLE_INVALID", variable=CHECKPOINTS, found=given, expected=expected)


def _misplaced(name: str, own: Mapping[str, Spot]) -> Finding | None:
    bad = _of_the_system(own[name]) or _in_another(name, own) or _outside(name, own)
    if bad is None:
        return None
    found, expected = bad
    return finding("VARIABLE_INVALID", variable=name, found=f"{name} ({own[name].path}) {found}", expected=expected)


def _of_the_system(spot: Spot) -> tuple[str, str] | None:
    place = next((one for one in SYSTEM if below(spot.path, one)), spot.path if spot.path in SHARED else "")
    return (f"is or lies in {place}, a folder of the system", "a folder of its own, such as /srv/…") if place else None


def _in_another(name: str, own: Mapping[str, Spot]) -> tuple[str, str] | None:
    for other, place in own.items():
        if other == name or name in HOLDS.get(other, ()):
            continue
        if other == "fleet_root" and name not in NOT_IN_ROOT and not _same(own[name], place):
            continue
        if own[name].lies_in(place) and not (name == "fleet_root" and _same(own[name], place)):
            lies = "is also" if _same(own[name], place) else "lies in"
            return f"{lies} {other} ({place.path})", f"a {'file' if name in FILES else 'folder'} of its own"
    return None


def _same(one: Spot, other: Spot) -> bool:
    return one.lies_in(other) and other.lies_in(one)


def _outside(name: str, own: Mapping[str, Spot]) -> tuple[str, str] | None:
    holders = [own[one] for one in WRITTEN_IN if one in own]
    if name not in WRITTEN or "fleet_root" not in own or any(own[name].lies_in(one) for one in holders):
        return None
    return "lies in no folder of the account", f"a file below fleet_root ({own['fleet_root'].path})"
