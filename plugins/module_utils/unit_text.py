"""The text of the systemd unit that runs a training. Pure.

Choices that last:
* The unit is enabled while a training is wanted, so it comes back after a reboot; `finished` in its record folder,
  written when the trainer ended with 0, keeps a finished run finished (ConditionPathExists).
* The trainer exits with 1 for everything, so a restart is tried after any failure, a few times an hour and no more:
  a lost peer or GPU is often gone by then, and with auto_resume little is lost; what fails for ever stays failed.
* Standard output may flood (400,000 lines/s when a worker starves), so it goes to the journal under a rate limit.
  Standard error, which tells why a training died, goes to a file of its own that no flood can push out; the file lies
  in root's folder, since systemd opens it as root.
* What the running training was started from (digests of unit, script and yaml) is recorded by the unit itself, so it
  is true whoever started it: the module, a reboot, or a person.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.version import VERSION

UNIT_DIR = "/etc/systemd/system"


@dataclass(frozen=True)
class Want:
    """A training's unit as it should be. Paths are absolute."""

    unit: str  # without .service
    run: str
    user: str
    group: str
    script: str
    working_dir: str
    results_dir: str
    checkpoint_dir: str
    state_dir: str
    inputs: tuple[str, ...] = ()  # further files that a start reads, beside unit and script
    wandb_key_file: str = ""  # "" when W&B is off
    restarts: int = 3  # per hour
    stop_seconds: int = 60

    @property
    def path(self) -> str:
        return f"{UNIT_DIR}/{self.unit}.service"

    @property
    def record(self) -> str:
        """Root's folder of this unit: started, ended, finished, errors.log."""
        return f"{self.state_dir}/training/{self.unit}"

    @property
    def errors(self) -> str:
        return f"{self.record}/errors.log"

    @property
    def log(self) -> str:
        return f"{self.results_dir}/log.txt"

    @property
    def watched(self) -> tuple[str, ...]:
        """Files whose content a start depends on."""
        return (self.path, self.script, *self.inputs)


def render(want: Want) -> str:
    """The unit's text. Raises FleetError for names and paths that a unit cannot hold."""
    _check(want)
    return "\n".join([*_unit_section(want), "", *_service_section(want), "", *_sandbox(want), "", *_install(), ""])


def _check(want: Want) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,200}", want.unit):
        raise FleetError(
            "the unit's name has characters that systemd refuses",
            variable="training_run",
            found=want.unit,
            expected="letters, digits, and : _ . -",
        )
    for name in ("script", "working_dir", "results_dir", "checkpoint_dir", "state_dir"):
        value = getattr(want, name)
        if not value.startswith("/") or re.search(r"[\x00-\x1f\x7f]", value):
            raise FleetError(
                "a unit needs a full path here", variable=f"training_{name}", found=repr(value), expected="/…"
            )


def _unit_section(want: Want) -> list[str]:
    return [
        f"# Managed by canvas-fleet {VERSION} (role training); set training_* in the inventory, do not edit here.",
        "[Unit]",
        f"Description=BAGEL training {_specifier(want.run)}",
        "Wants=network-online.target",
        "After=network-online.target",
        f"RequiresMountsFor={_words(want.results_dir, want.checkpoint_dir, want.working_dir, want.script)}",
        "# A finished run stays finished: training_state: restarted takes the mark away.",
        f"ConditionPathExists=!{_specifier(want.record)}/finished",
        "StartLimitIntervalSec=1h",
        f"StartLimitBurst={want.restarts + 1}",
    ]


def _service_section(want: Want) -> list[str]:
    credential = [f"LoadCredential=wandb_api_key:{_specifier(want.wandb_key_file)}"] if want.wandb_key_file else []
    return [
        "[Service]",
        "Type=exec",
        f"User={want.user}",
        f"Group={want.group}",
        f"WorkingDirectory={_specifier(want.working_dir)}",
        f"ExecStartPre=-+{_gpu_nodes()}",
        f"ExecStartPre=-+{_record_start(want)}",
        f"ExecStart=/bin/bash {_argument(want.script)}",
        f"ExecStopPost=-+{_record_end(want)}",
        *credential,
        f"Restart={'on-failure' if want.restarts else 'no'}",
        "RestartSec=30",
        "# All ranks end together: a rank that outlives torchrun keeps its GPU and trains on alone.",
        "KillMode=control-group",
        f"TimeoutStopSec={want.stop_seconds}",
        "TimeoutStartSec=5min",
        "StandardOutput=journal",
        f"StandardError=append:{_specifier(want.errors)}",
        "LogRateLimitIntervalSec=10min",
        "LogRateLimitBurst=10000",
        "MemoryAccounting=yes",
        "OOMPolicy=stop",
        "TasksMax=infinity",
        "LimitMEMLOCK=infinity",
        "LimitNOFILE=1048576",
        "LimitCORE=0",
        "UMask=0022",
    ]


def _sandbox(want: Want) -> list[str]:
    # Not here: PrivateDevices and ProtectClock hide or close the GPUs' nodes, a private network breaks NCCL.
    return [
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={_words(want.results_dir, want.checkpoint_dir)}",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectControlGroups=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
    ]


def _install() -> list[str]:
    return ["[Install]", "WantedBy=multi-user.target"]


def _gpu_nodes() -> str:
    """After a boot the GPUs' nodes may be missing, and NoNewPrivileges forbids the trainer's own setuid helper."""
    return _shell(
        "if command -v nvidia-smi; then nvidia-smi -L; fi",
        "if command -v nvidia-modprobe; then nvidia-modprobe -u -c 0; fi",
    )


def _record_start(want: Want) -> str:
    record, log = shlex.quote(want.record), shlex.quote(want.log)
    return _shell(
        f"cd {record} && rm -f ended && exec >started.new 2>/dev/null || exit 1",
        "echo invocation $INVOCATION_ID",
        f"stat -c 'log_bytes %s' {log}",
        "stat -c 'errors_bytes %s' errors.log",
        *(f"sha256sum {shlex.quote(path)}" for path in want.watched),
        "mv -f started.new started",
    )


def _record_end(want: Want) -> str:
    return _shell(
        f"cd {shlex.quote(want.record)} || exit 1",
        "set -- $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS",
        "echo $* >ended",
        """if [ "$*" = "success exited 0" ]; then : >finished; fi""",
    )


def _shell(*commands: str) -> str:
    """A small script as the arguments of a unit's command, a line each."""
    inner = [_escaped(command).replace("$", "$$") for command in commands]
    return '/bin/sh -c "' + "; \\\n    ".join(inner) + '"'


def _specifier(value: str) -> str:
    """A value in which systemd expands %: once doubled it stays itself."""
    return value.replace("%", "%%")


def _argument(value: str) -> str:
    """One word of a command line: quoted, and neither a specifier nor a variable to systemd."""
    return _word(value).replace("$", "$$")


def _word(value: str) -> str:
    escaped = _escaped(value)
    return escaped if re.fullmatch(r"[\w/.:@%+-]+", escaped) else f'"{escaped}"'


def _escaped(value: str) -> str:
    return _specifier(value).replace("\\", "\\\\").replace('"', '\\"')


def _words(*values: str) -> str:
    return " ".join(_word(value) for value in dict.fromkeys(values))
