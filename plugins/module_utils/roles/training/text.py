"""The text of the systemd unit that runs a training. Pure.

Choices that last:
* The unit runs our supervisor, not the script itself (supervisor.py): it is ready at the first step, its watchdog hears
  of steps alone, and its exit code says whether another start makes sense.
* The unit is enabled while a training is wanted, so it comes back after a reboot; `finished` in its record folder,
  written when the supervisor ended with 0, keeps a finished run finished (ConditionPathExists).
* A stop waits for the next save, within TimeoutStopSec; a shutdown of the host does the same.
* Only the supervisor hears the signals of a stop (KillMode=mixed); what it leaves behind is killed with the group.
* OOMPolicy=continue: systemd's own reaction would look to the supervisor like a stop that waits for a save. The trainer
  ends by itself when a rank of it is killed, and the supervisor asks the kernel whether memory was the reason.
* What the running training was started from (digests of unit, spec, script and yaml) is recorded by the unit itself, so
  it is true whoever started it: the module, a reboot, or a person.
"""

from __future__ import annotations

import re
import shlex

from ...core.errors import FleetError
from ...core.version import VERSION
from ...peers.secret import CREDENTIAL
from . import payload, sandbox
from .have import SETUP
from .sandbox import argument, escaped, specifier, words
from .want import Want

# supervisor.py: a failure that another start would repeat, and a stop that was asked for.
FINAL, STOPPED = 78, 79
PATHS = (
    "run_config_script",
    "canvas_code_dir",
    "training_results_dir",
    "training_checkpoint_dir",
    "fleet_state_dir",
    "weights_dir",
    "conda_env_prefix",
    "dataset_train_dir",
)  # that the unit's text holds
KILL_SECONDS = 60  # beyond the wait for a save: to end the processes and to seal the save


def render(want: Want) -> str:
    """The unit's text. Raises FleetError for names and paths that a unit cannot hold."""
    _check(want)
    service = [*_service_section(want), "", *sandbox.directives(want)]
    return "\n".join([*_unit_section(want), "", *service, "", *_install(), ""])


def render_gpu(want: Want) -> str:
    """The text of the unit before it, which makes the GPUs' nodes: after a boot they may be missing, the sandbox
    forbids the trainer's own setuid helper, and a kind of device that the kernel learns of later stays closed."""
    lines = [
        f"# Managed by canvas-fleet {VERSION} (role training).",
        "[Unit]",
        f"Description=GPU nodes for {specifier(want.run)}",
        "[Service]",
        "Type=oneshot",
        f"ExecStart=-{_gpu_nodes()}",
        "TimeoutStartSec=2min",
    ]
    return "\n".join([*lines, ""])


def _check(want: Want) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,200}", want.unit):
        raise FleetError(
            "the unit's name has characters that systemd refuses",
            variable="training_run",
            found=want.unit,
            expected="letters, digits, and : _ . -",
        )
    for name in PATHS:
        value = str(want.settings[name])
        if not value.startswith("/") or re.search(r"[\x00-\x1f\x7f]", value):
            raise FleetError("a unit needs a full path here", variable=name, found=repr(value), expected="/…")


def _unit_section(want: Want) -> list[str]:
    return [
        f"# Managed by canvas-fleet {VERSION} (role training); set training_* in the inventory, do not edit here.",
        "[Unit]",
        f"Description=BAGEL training {specifier(want.run)}",
        f"Wants=network-online.target {want.unit}-gpu.service",
        f"After=network-online.target {want.unit}-gpu.service",
        "# After a boot a disk may come late: what is not there yet would count as missing for good.",
        f"RequiresMountsFor={words(*want.needed)}",
        "# A finished run stays finished: training_state: restarted takes the mark away.",
        f"ConditionPathExists=!{specifier(want.record)}/finished",
        "StartLimitIntervalSec=1h",
        "StartLimitBurst=60",
    ]


def _service_section(want: Want) -> list[str]:
    credentials = {"wandb_api_key": want.wandb_key_file, CREDENTIAL: want.secret_path if want.has_peers else ""}
    return [
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"User={want.user}",
        f"Group={want.group}",
        f"WorkingDirectory={specifier(want.working_dir)}",
        f"ExecStartPre=-+{_record_start(want)}",
        f"ExecStart=/usr/bin/python3 -I {argument(payload.path(want.payloads))} {argument(want.spec_path)}",
        f"ExecStopPost=-+{_record_end(want)}",
        *(f"LoadCredential={name}:{specifier(path)}" for name, path in credentials.items() if path),
        f"Restart={'on-failure' if want.settings['training_restarts'] else 'no'}",
        "# The supervisor counts the failures and makes the pauses grow; this one is for a supervisor that was killed.",
        "RestartSec=5",
        f"RestartPreventExitStatus={FINAL} {' '.join(map(str, sorted(SETUP)))}",
        f"SuccessExitStatus={STOPPED}",
        "# What the supervisor announces while it loads, compiles, trains and saves takes the place of these two.",
        "TimeoutStartSec=10min",
        "WatchdogSec=1h",
        "TimeoutStartFailureMode=abort",
        "TimeoutAbortSec=30",
        "# All ranks end together: a rank that outlives torchrun keeps its GPU and trains on alone.",
        "KillMode=mixed",
        f"TimeoutStopSec={want.settings['training_stop_seconds'] + KILL_SECONDS}",
        f"SyslogIdentifier={want.unit}",
        "StandardOutput=journal",
        "StandardError=journal",
        "LogRateLimitIntervalSec=10min",
        "LogRateLimitBurst=10000",
        "MemoryAccounting=yes",
        "CPUAccounting=yes",
        "TasksAccounting=yes",
        "OOMPolicy=continue",
        "TasksMax=infinity",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=1048576",
        "LimitCORE=0",
    ]


def _install() -> list[str]:
    return ["[Install]", "WantedBy=multi-user.target"]


def _gpu_nodes() -> str:
    return _shell(
        "if command -v nvidia-smi; then nvidia-smi -L; fi",
        "if command -v nvidia-modprobe; then nvidia-modprobe -u -c 0; fi",
    )


def _record_start(want: Want) -> str:
    record, log = shlex.quote(want.record), shlex.quote(want.log)
    return _shell(
        f"umask 022; cd {record} && rm -f ended && exec >started.new 2>/dev/null || exit 1",
        "echo invocation $INVOCATION_ID",
        "boot=$(cat /proc/sys/kernel/random/boot_id)",
        "echo boot $boot",
        "grep -qsF $boot kernel || rm -f kernel",
        f"stat -c 'log_bytes %s' {log}",
        *(f"sha256sum {shlex.quote(path)}" for path in want.watched),
        "mv -f started.new started",
    )


def _record_end(want: Want) -> str:
    """How it ended, and what the kernel said meanwhile: a GPU off the bus, a process ended for lack of memory."""
    return _shell(
        f"umask 022; cd {shlex.quote(want.record)} || exit 1",
        "set -- $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS",
        "echo $* >ended",
        """if [ "$*" = "success exited 0" ]; then : >finished; fi""",
        "begun=$(stat -c %Y started)",
        "exec >kernel.new 2>/dev/null",
        "cat /proc/sys/kernel/random/boot_id",
        "journalctl -k -q --no-pager -o short-iso --since=@$begun -g 'NVRM: Xid|oom-kill|Out of memory' | tail -n 40",
        "mv -f kernel.new kernel",
    )


def _shell(*commands: str) -> str:
    """A small script as the arguments of a unit's command, a line each."""
    inner = [escaped(command).replace("$", "$$") for command in commands]
    return '/bin/sh -c "' + "; \\\n    ".join(inner) + '"'
