"""What Ansible passes over: no host that trains, a limit or a tag that fits nothing, its own age. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..core import folded
from ..core.version import numbers
from ..findings.finding import Finding, finding

ANY_TAG = ("all", "tagged", "always")
OLDEST = (2, 19)  # ansible-core, as in meta/runtime.yml; older ones only warn, and end in a traceback


@dataclass(frozen=True)
class Command:
    """A call of ansible-playbook. `chosen`: the hosts that --limit leaves of the whole inventory."""

    sources: Sequence[str]
    groups: Mapping[str, Sequence[str]]
    chosen: Sequence[str]
    tags: Sequence[str] = ("all",)
    skipped_tags: Sequence[str] = ()
    known_tags: Sequence[str] = ()  # of the playbook
    group: str = "trainers"
    runs: Mapping[str, str] = field(default_factory=dict)  # by chosen host, where the playbook takes one run
    core: str = ".".join(map(str, OLDEST))  # the version of ansible-core


def slips(command: Command) -> Iterator[Finding]:
    """Why the command would do nothing, or something unintended."""
    if numbers(command.core)[:2] < OLDEST:
        expected = f"ansible-core {'.'.join(map(str, OLDEST))} or newer"
        yield finding("ANSIBLE_TOO_OLD", found=f"ansible-core {command.core}", expected=expected)
    members = command.groups.get(command.group, ())
    if not members:
        yield finding("NO_HOSTS", found=_instead(command), expected=f"a host in the group {command.group}")
    elif not set(members) & set(command.chosen):
        found = f"of {', '.join(command.chosen[:4])} none is in the group {command.group}"
        yield finding("LIMIT_EMPTY", variable="--limit", found=found, expected=", ".join(members[:4]))
    elif runs := [*dict.fromkeys(command.runs.values())][1:]:
        first = [host for host, run in command.runs.items() if run not in runs]
        found, expected = (
            folded.hosts(dict.fromkeys(command.runs.values())),
            f"one run, as by --limit {','.join(first)}",
        )
        yield finding("RUNS_SEVERAL", variable="--limit", found=found, expected=expected)
    for option, tags in (("--tags", command.tags), ("--skip-tags", command.skipped_tags)):
        for tag in sorted(set(tags) - {*ANY_TAG, *command.known_tags}):
            near = difflib.get_close_matches(tag, command.known_tags, n=1, cutoff=0.5)
            known = ", ".join(command.known_tags) or "none: this playbook has no tags"
            yield finding("TAG_UNKNOWN", variable=option, found=tag, expected=f"{near[0]}?" if near else known)


def _instead(command: Command) -> str:
    """What the inventory holds in the place of the hosts that train."""
    sources = ", ".join(command.sources) or "no inventory"
    hosts = command.groups.get("all", ())
    if not hosts:
        return f"no host at all in {sources}"
    named = [group for group in command.groups if group not in ("all", "ungrouped", command.group)]
    groups = f"in {', '.join(named[:6])}" if named else "in no group"
    return f"{len(hosts)} {'host' if len(hosts) == 1 else 'hosts'} {groups} ({sources})"
