"""What the unit of a training takes from its processes, and how words are written in a unit. Pure.

docs/training.md says of each directive that is not here, or not as tight as it could be, why.
"""

from __future__ import annotations

import re

from .want import Want

# The nodes of GPUs and of what joins them; a kind that the kernel does not know is no error.
DEVICES = ("char-nvidia*", "char-infiniband*", "char-gdrdrv")


def directives(want: Want) -> list[str]:
    """The lines of the unit's [Service] section that shut it in."""
    return [
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "PrivateTmp=yes",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        f"ReadWritePaths={words(*want.writable)}",
        "# Not PrivateDevices: it hides the GPUs' nodes. These and the usual harmless ones are all that can be opened.",
        "DevicePolicy=closed",
        *(f"DeviceAllow={device} rw" for device in DEVICES),
        "ProtectClock=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectControlGroups=yes",
        "ProtectProc=invisible",
        "ProcSubset=pid",
        "RemoveIPC=yes",
        "# Not PrivateNetwork: ranks, peers, W&B. NCCL asks the kernel for its interfaces by netlink.",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallFilter=~@privileged",
        "SystemCallErrorNumber=EPERM",
        "UMask=0027",
    ]


def specifier(value: str) -> str:
    """A value in which systemd expands %: once doubled it stays itself."""
    return value.replace("%", "%%")


def argument(value: str) -> str:
    """One word of a command line: quoted, and neither a specifier nor a variable to systemd."""
    return word(value).replace("$", "$$")


def word(value: str) -> str:
    text = escaped(value)
    return text if re.fullmatch(r"[\w/.:@%+-]+", text) else f'"{text}"'


def escaped(value: str) -> str:
    return specifier(value).replace("\\", "\\\\").replace('"', '\\"')


def words(*values: str) -> str:
    return " ".join(word(value) for value in dict.fromkeys(values))
