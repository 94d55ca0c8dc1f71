"""Makes docs/plan.md: what the plan looks like, of hosts that do not exist."""

from __future__ import annotations

from ansible_collections.canvas.fleet.plugins.module_utils.plan.text import plan_text

from tests.fuzz import fleet
from tests.fuzz.fleet import GB, Host, Seen

COLUMNS = (80, 120)
SOURCE = {"dataset_source": "url", "dataset_train": "https://data.example/train.parquet"}
SILENT = {"unreachable": True, "msg": "ssh: connect to host 10.0.0.3 port 22: Connection timed out"}
UNKNOWN = {"unreachable": True, "msg": "Host key verification failed."}


def small(seen: Seen) -> None:
    """A disk on which the weights and two checkpoints have no room."""
    for disk in seen["facts"]["disks"].values():
        disk["free"] = 90 * GB


def one() -> list[Host]:
    return [Host("gpu-01", SOURCE)]


def eight() -> list[Host]:
    def host(number: int) -> Host:
        run = {"training_run": "pair"} if number > 6 else {}
        given = {**SOURCE, **run, "ansible_host": f"10.0.0.{number}"}
        spoil = small if number in (4, 5) else None
        return Host(f"gpu-{number:02}", given, spoil, SILENT if number == 3 else None)

    return [host(number) for number in range(1, 9)]


def fifty() -> list[Host]:
    def host(number: int) -> Host:
        given = {**SOURCE, "training_run": "big", "ansible_host": f"10.0.0.{number}", **KNOWN}
        return Host(f"gpu-{number:02}", given, small if number == 20 else None, UNKNOWN if number > 47 else None)

    return [host(number) for number in range(1, 51)]


KNOWN = {"run_config_debug_batches": 3, "run_config_ema": 0.9999, "preflight_accepted_findings": ["EMA_TOO_SLOW"]}
SCREENS = (
    ("One host", "A bare server. Nothing is wrong, and every role has something to do.", one),
    ("Eight hosts", "Six runs of one host and one of two. One host is off, two have small disks.", eight),
    ("Fifty hosts", "One run. Three host keys are unknown, and one disk is too small.", fifty),
)
HEAD = """\
`ansible-playbook -i inventory/mine playbooks/plan.yml` observes every host, shows the plan, and changes nothing.
`site.yml` shows the same plan before it acts.

Read it from its end. The last line says which runs are refused, and by which codes ([findings.md](findings.md)). Above
it stands each error with its remedy, above these the warnings. Notes and accepted findings take one line each: the
product corrects them by itself, or you know them. What holds for several hosts is shown once. `gpu-[01-03]` is gpu-01,
gpu-02 and gpu-03, as in Slurm and ClusterShell.

The plan is as wide as the terminal, and 79 columns wide in a pipe. Colours are Ansible's. A pipe has none, and
`NO_COLOR`, `ANSIBLE_NOCOLOR` and `ANSIBLE_FORCE_COLOR` hold.

| a host that is not judged | why |
| --- | --- |
| `no answer` | no login over SSH: the address, the host key, the account |
| `failed` | a login, but no observation: sudo, Python, a full disk |
| `not asked` | left out by `--limit`, or its variables are wrong |

| return code of `plan.yml` | meaning |
| --- | --- |
| 0 | no run is refused |
| 1, 4, or another | Ansible itself could not go on; its message says why |
| 2 | a run is refused, or the call would do nothing (no host, an unknown tag) |
| 99 | Ctrl-C |

`-e fleet_plan_format=json` also writes the whole plan to `fleet_plan_file` (`fleet-plan.json` in the folder where
ansible-playbook was called). The file is replaced in one step, so another program never reads half of it.
[plan.schema.json](plan.schema.json) declares its form as JSON Schema. For example, each error with its host:

```
jq -r '.findings[] | select(.severity == "error" and (.accepted | not)) | [.host, .code, .found] | @tsv' fleet-plan.json
```
"""


def page(made: str) -> str:
    lines = ["# The plan", "", made.format(source="docs/plan_page.py"), HEAD]
    for title, about, hosts in SCREENS:
        plan = fleet.plan(hosts())
        lines += [f"## {title}", "", about, ""]
        for columns in COLUMNS:
            lines += [f"At {columns} columns:", "```", plan_text(plan, columns - 1), "```", ""]
    return "\n".join(lines)
