"""The plan as text, for a person at a terminal: what holds for many hosts is shown once. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from ..core import folded, shown, table
from ..core.progress import duration
from ..core.role_plan import ROLES
from ..core.table import NONE
from ..machine.fit.findings import human, remedy, yaml
from ..machine.fit.judge import Verdict
from .findings_text import WIDTH, counts, findings_of, many, wrapped
from .make import HostPlan, Plan

Row = tuple[str, ...]
NOT_JUDGED = "not judged"
WHY = 110  # letters of the reasons of a role

MARKED = ("full", "lora", "frozen")  # profiles in the table

FIT_HEAD = ("fit", "GPU memory", "host memory", "disk", *MARKED, "download", "save", "nearest that fits")
FOLD = FIT_HEAD.index(MARKED[0])


def fit_rows(hosts: Iterable[HostPlan]) -> list[tuple[str, ...]]:
    """A row for the hosts that are alike in this."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for host in hosts:
        alike.setdefault(fit_row(host)[1:], []).append(host.name)
    return [(folded.hosts(names), *cells) for cells, names in alike.items()]


def fit_row(host: HostPlan) -> tuple[str, ...]:
    """Needed and available memory of a host, the profiles that fit, and the nearest setting that fits."""
    fit = host.fit
    if not fit:
        return (host.name, *[NONE] * (len(FIT_HEAD) - 2), NOT_JUDGED)
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


def choice_lines(hosts: Sequence[HostPlan], width: int = WIDTH) -> list[str]:
    """What training_profile: auto stands for, and why."""
    made = hosts[0].choice
    if not made:
        return []
    unknown = made.unsure if made.settled else "no GPU is seen yet"
    later = f" for now: {unknown}" if unknown else ""
    line = f"profile auto: {made.name}{later}" + (f" ({'; '.join(made.why)})" if made.why else "")
    given = ", ".join(f"{name}: {yaml(value)}" for name, value in made.settings.items())
    return [part for text in (line, f"sets {given}") for part in wrapped("  ", shown.line(text), width, 4)]


def role_rows(hosts: Sequence[HostPlan]) -> list[Row]:
    """Rows of a run: role, what will happen, on which hosts unless on all that are judged, why."""
    alike: dict[Row, list[str]] = {}
    for role in ROLES:
        for host in (host for host in hosts if role in host.roles):
            made = host.roles[role]
            why = made.summary if made.in_sync else "; ".join(made.reasons)
            alike.setdefault((role, "in sync" if made.in_sync else "will change", why), []).append(host.name)
    judged = sum(1 for host in hosts if host.roles)
    rows: list[Row] = [
        (role, state, "" if len(names) == judged else folded.hosts(names), _shortened(why))
        for (role, state, why), names in alike.items()
    ]
    return rows if any(row[2] for row in rows) else [(*row[:2], row[3]) for row in rows]


def lost_lines(hosts: Sequence[HostPlan], width: int = WIDTH) -> list[str]:
    """The hosts of a judged run that are not, by state."""
    states: dict[str, list[str]] = {}
    for host in (host for host in hosts if not host.roles):
        states.setdefault(host.state, []).append(host.name)
    texts = [f"{state}: {folded.hosts(names)}" for state, names in states.items() if len(names) < len(hosts)]
    return [line for text in texts for line in wrapped("  ", shown.line(text), width, 4)]


def _shortened(why: str) -> str:
    return textwrap.shorten(shown.line(why), WHY, placeholder=" …")


def run_lines(plan: Plan, width: int = WIDTH) -> list[str]:
    """Each run with its roles; runs of one host that are alike are shown once."""
    alike: dict[tuple[str, tuple[Row, ...], tuple[str, ...]], list[list[HostPlan]]] = {}
    for run, names in plan.runs.items():
        hosts = [plan.hosts[name] for name in names]
        what = shape(hosts) if len(hosts) == 1 else f"{run}: {shape(hosts)}"
        more = (*choice_lines(hosts, width), *lost_lines(hosts, width))
        alike.setdefault((what, (*role_rows(hosts),), more), []).append(hosts)
    lines = []
    for (_what, rows, more), runs in alike.items():
        lines += [*title(runs, width), *more, *table.lines(rows, indent="  ", width=width), ""]
    return lines


def title(runs: Sequence[Sequence[HostPlan]], width: int = WIDTH) -> list[str]:
    """`run bolt (bolt[0-1]): 2 hosts × …`; of several runs of one host each `4 runs (n[1-4]): each 1 host × …`."""
    names = [hosts[0].topology.run for hosts in runs]
    members = folded.hosts(host.name for hosts in runs for host in hosts)
    place = "" if names == [members] else f" ({members})"
    which = f"run {names[0]}{place}: " if len(runs) == 1 else f"{len(runs)} runs{place}: each "
    return wrapped(shown.line(which), shape(runs[0]), width, 2)


def shape(hosts: Sequence[HostPlan]) -> str:
    topology = shown.each(hosts[0].topology)
    if not any(host.roles for host in hosts):
        return f"{many(topology.nnodes, 'host')}, {', '.join(sorted({host.state for host in hosts}))}: {NOT_JUDGED}"
    return (
        f"{many(topology.nnodes, 'host')} × {many(topology.nproc_per_node, 'process', 'es')}"
        f" = world size {topology.world_size} ({topology.num_replicate} × {topology.num_shard} shards),"
        f" {topology.num_workers} workers each, {topology.row_groups} row groups,"
        f" master {topology.master_addr}:{topology.master_port}"
    )


def skipped_lines(plan: Plan, width: int = WIDTH) -> list[str]:
    """Each check that was skipped, with its reason and the hosts."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for name, host in plan.hosts.items():
        for one in host.skipped:
            hosts.setdefault((one.check, one.reason), []).append(name)
    return [
        line
        for (check, reason), names in hosts.items()
        for line in wrapped("skipped  ", shown.line(f"{check}: {reason} ({folded.hosts(names)})"), width, 9)
    ]


def summary_lines(plan: Plan, width: int = WIDTH) -> list[str]:
    judged = [len(host.changes) for host in plan.hosts.values() if host.roles]
    todo, unknown = sum(1 for number in judged if number), len(plan.hosts) - len(judged)
    parts = [f"{todo} to change ({many(sum(judged), 'role')})", f"{len(judged) - todo} in sync"]
    parts += [f"{unknown} {NOT_JUDGED}"] if unknown else []
    line = (
        f"{many(len(plan.hosts), 'host')}, {many(len(plan.runs), 'run')}: {', '.join(parts)}; {counts(plan.findings)}"
    )
    if plan.outside:
        line += f"; outside of --limit: {folded.hosts(plan.outside)}"
    refused = [*dict.fromkeys(host.topology.run for host in plan.hosts.values() if host.refused)]
    lines = wrapped("", shown.line(line), width, 2)
    if refused:
        codes = ", ".join(dict.fromkeys(found.code for found in plan.findings if found.refuses))
        words = f"{folded.hosts(refused)}, because of {codes} (nothing is changed on their hosts)"
        lines += wrapped("refused: ", shown.line(words), width, 2)
    return lines


def ending(plan: Plan, width: int = WIDTH) -> list[str]:
    """What a plan without findings leaves open, the findings, and the summary: what has to be done stands last."""
    skipped = skipped_lines(plan, width)
    return [*skipped, *([""] if skipped else []), *findings_of(plan, width=width), *summary_lines(plan, width)]


def plan_text(plan: Plan, width: int = WIDTH) -> str:
    """The whole plan: the roles of each run, what its hosts can hold, and the ending."""
    lines = run_lines(plan, width)
    if any(host.fit for host in plan.hosts.values()):
        rows = [FIT_HEAD, *fit_rows(host for host in plan.hosts.values() if host.roles)]
        lines += [*table.lines(rows, indent="  ", width=width, fold=FOLD), ""]
    return "\n".join([*lines, *ending(plan, width)])
