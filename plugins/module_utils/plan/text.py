"""The plan and its findings as text. Rows are data; this is the only place where they become lines."""

from __future__ import annotations

import textwrap
from collections.abc import Container, Iterable, Mapping, Sequence

from ..core import shown, table
from ..core.progress import duration
from ..core.table import NONE
from ..findings.finding import CATALOGUE, SEVERITIES, Finding
from ..machine.fit.findings import human, remedy, yaml
from ..machine.fit.judge import Verdict
from .make import HostPlan, Plan

WIDTH = 110
MARKED = ("full", "lora", "frozen")  # profiles in the table
SHOWN = 4  # hosts named with a skipped check


def host_rows(host: HostPlan) -> list[tuple[str, str, str, str]]:
    """A row per role: host, role, what will happen, why. The host's name stands on the first row only."""
    if not host.roles:
        return [(host.name, "–", "not observed", "see the findings")]
    rows = []
    for number, (name, role) in enumerate(host.roles.items()):
        state = "in sync" if role.in_sync else "will change"
        why = role.summary if role.in_sync else "; ".join(role.reasons)
        rows.append(
            (host.name if number == 0 else "", name, state, textwrap.shorten(shown.line(why), WIDTH, placeholder=" …"))
        )
    return rows


FIT_HEAD = ("fit", "GPU memory", "host memory", "disk", *MARKED, "download", "save", "nearest that fits")


def fit_row(host: HostPlan) -> tuple[str, ...]:
    """Needed and available memory of a host, the profiles that fit, and the nearest setting that fits."""
    fit = host.fit
    if not fit:
        return (host.name, *[NONE] * (len(FIT_HEAD) - 2), "not judged")
    gpu = "none seen" if fit.run.gpu else "none expected"
    times = [duration(fit.seconds[what]) if fit.seconds.get(what) else NONE for what in ("download", "save")]
    return (
        host.name,
        of(fit.gpu.need, fit.gpu.have) if fit.gpu else gpu,
        of(fit.host.need, fit.host.have),
        "; ".join(of(one.need, one.have) for one in fit.disks) or "nothing to write",
        *marks(fit.profiles),
        *times,
        "as it is" if fit.state == "fits" else remedy(fit) or "nothing on this host or with its GPUs",
    )


def of(need: float, have: float) -> str:
    """`51.1 of 150.8 GB`, with both units where they differ."""
    needed, had = human(need).split(), human(have).split()
    return f"{needed[0]} of {' '.join(had)}" if needed[1] == had[1] else f"{' '.join(needed)} of {' '.join(had)}"


def mark(pair: tuple[Verdict | None, Verdict]) -> str:
    """`✓`, `tight`, or by how much it does not fit: `✗ 10.8 GB GPU, 240.6 GB host`."""
    states = [(name, one) for name, one in zip(("GPU", "host"), pair) if one]
    short = [f"{human(one.missing)} {name}" for name, one in states if one.state == "short"]
    if short:
        return "✗ " + ", ".join(short)
    return "✓" if all(one.state == "fits" for _unused, one in states) else "tight"


def marks(profiles: Mapping[str, tuple[Verdict | None, Verdict]]) -> list[str]:
    """One for each of MARKED; `✓ streamed` where adapters fit only so."""
    found = [mark(profiles[name]) for name in MARKED]
    streamed = mark(profiles["lora, streamed"])
    if found[1].startswith("✗") and not streamed.startswith("✗"):
        found[1] = f"{streamed} streamed"
    return found


def choice_lines(hosts: Sequence[HostPlan]) -> list[str]:
    """What training_profile: auto stands for, and why."""
    made = hosts[0].choice
    if not made:
        return []
    later = "" if made.settled else " for now: no GPU is seen yet"
    line = f"profile auto: {made.name}{later}" + (f" ({'; '.join(made.why)})" if made.why else "")
    given = ", ".join(f"{name}: {yaml(value)}" for name, value in made.settings.items())
    lines = [shown.line(line), f"sets {given}"]
    return [
        part for line in lines for part in textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="    ")
    ]


def run_line(hosts: Sequence[HostPlan]) -> str:
    topology = shown.each(hosts[0].topology)
    if not any(host.roles for host in hosts):
        return f"run {topology.run}: {many(topology.nnodes, 'host')}, not judged"
    return (
        f"run {topology.run}: {many(topology.nnodes, 'host')} × {topology.nproc_per_node} processes"
        f" = world size {topology.world_size} ({topology.num_replicate} × {topology.num_shard} shards),"
        f" {topology.num_workers} workers each, {topology.row_groups} row groups,"
        f" master {topology.master_addr}:{topology.master_port}"
    )


def finding_lines(found: Finding) -> list[str]:
    """One finding: code and place, then the variable where there is one, found, expected, because, remedy."""
    found = shown.each(found)
    place = " ".join(
        part for part in (f"run {found.run}" if found.run else "", f"host {found.host}" if found.host else "") if part
    )
    label = "accepted" if found.accepted else found.severity
    lines = [f"{label:<8} {found.code:<24} {place}".rstrip()]
    for name in ("variable", "found", "expected", "because", "remedy"):
        text = getattr(found, name)
        lines += textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {name:<10}",
            subsequent_indent=" " * 12,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return lines


def findings_of(plan: Plan, codes: Container[str] | None = None) -> list[str]:
    """The findings of these codes, of all by default, each with an empty line behind it."""
    chosen = [found for found in plan.findings if codes is None or found.code in codes]
    return [line for found in chosen for line in (*finding_lines(found), "")]


def many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def counts(findings: Iterable[Finding]) -> str:
    """ "2 errors, 1 warning": accepted findings are counted apart."""
    found = list(findings)
    parts = []
    for severity in SEVERITIES:
        number = sum(1 for one in found if one.severity == severity and not one.accepted)
        if number:
            parts.append(many(number, severity))
    accepted = sum(1 for one in found if one.accepted)
    if accepted:
        parts.append(f"{accepted} accepted")
    return ", ".join(parts) or "no findings"


def skipped_lines(plan: Plan) -> list[str]:
    """A line for each check that was skipped, with its reason and the hosts."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for name, host in plan.hosts.items():
        for one in host.skipped:
            hosts.setdefault((one.check, one.reason), []).append(name)
    return [shown.line(f"skipped  {check}: {reason} ({few(names)})") for (check, reason), names in hosts.items()]


def few(names: Sequence[str]) -> str:
    """The first of them by name, the others by number."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def summary_line(plan: Plan) -> str:
    judged = [len(host.changes) for host in plan.hosts.values() if host.roles]
    todo, unknown = sum(1 for number in judged if number), len(plan.hosts) - len(judged)
    refused = sorted({host.topology.run for host in plan.hosts.values() if host.refused})
    parts = [f"{todo} to change ({many(sum(judged), 'role')})", f"{len(judged) - todo} in sync"]
    parts += [f"{unknown} not judged"] if unknown else []
    line = (
        f"{many(len(plan.hosts), 'host')}, {many(len(plan.runs), 'run')}: {', '.join(parts)}; {counts(plan.findings)}"
    )
    if refused:
        line += f"; refused: {', '.join(refused)} (nothing is changed on their hosts)"
    if plan.outside:
        line += f"; outside of --limit: {few(plan.outside)}"
    return shown.line(line)


def ending(plan: Plan) -> list[str]:
    """The skipped checks, then the summary."""
    skipped = skipped_lines(plan)
    return [*skipped, *([""] if skipped else []), summary_line(plan)]


def plan_text(plan: Plan) -> str:
    """The whole plan: findings first (errors at the end, next to the summary), roles per run and host."""
    lines: list[str] = []
    for members in plan.runs.values():
        hosts = [plan.hosts[name] for name in members]
        rows = [row for host in hosts for row in host_rows(host)]
        lines += [run_line(hosts), *choice_lines(hosts), *table.lines(rows, indent="  "), ""]
    if plan.hosts:
        lines += [*table.lines([FIT_HEAD, *(fit_row(host) for host in plan.hosts.values())], indent="  "), ""]
    for severity in reversed(SEVERITIES):
        lines += findings_of(plan, {code for code, entry in CATALOGUE.items() if entry.severity == severity})
    return "\n".join([*lines, *ending(plan)])
