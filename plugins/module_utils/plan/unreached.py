"""Why a host could not be observed: messages of ssh, sudo, Python and Ansible, as findings. Pure.

tests/fixtures/ansible/unreached.yml holds what they really say; `make chaos` makes each of these faults on a host.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core import shown
from ..findings.finding import Finding, finding

LONGEST = 300  # characters of one line of an answer
READ = 10_000  # characters of one text, from its begin and from its end
PLACES = ("msg", "module_stderr", "module_stdout")
KNOWN_TO_HOSTS = ("HOST_ANSWER_MALFORMED", "NOT_ROOT")  # an answer may name these; all else is judged here


@dataclass(frozen=True)
class Cause:
    """The code for a line of an answer. The group of `words`, if there is one, is what a user reads of the line.

    `variable` names what mends it; lines that fit `also` are shown, too.
    """

    code: str
    words: str
    expected: str
    variable: str = ""
    also: str = ""


# The first that fits is the cause.
CAUSES = (
    Cause("HOST_KEY_CHANGED", r"(\w[\w ]+HAS CHANGED|REVOKED HOST KEY \w+)",
          "the host key in known_hosts", also=r"^SHA256:|^Offending"),
    Cause("HOST_KEY_UNKNOWN", r"Host key verification failed|add this host's fingerprint",
          "a host key in known_hosts"),
    Cause("SSH_NAME_UNKNOWN", r"Could not resolve hostname", "a name that resolves, or an address", "ansible_host"),
    Cause("SSH_REFUSED", r"Connection refused", "an SSH server on this port", "ansible_port"),
    Cause("SSH_TIMEOUT", r"(?:Connection|Operation) timed out", "an answer in time",
          "ansible_host"),
    Cause("SSH_TOO_MANY_KEYS", r"Too many authentication failures", "the right key as the first one",
          "ansible_ssh_private_key_file"),
    Cause("SSH_PASSWORD_EXPIRED", r"(?:[Pp]assword|account) has expired",
          "an account that may log in", "ansible_user"),
    Cause("SSH_LOGIN_REFUSED", r"Permission denied \(|[Ii]nvalid/incorrect (?:username/)?password", "a login",
          "ansible_user"),
    Cause("SSH_CLOSED", r"exchange_identification|Connection (?:closed|reset) by",
          "an SSH server that accepts this machine", "ansible_port"),
    Cause("BECOME_PASSWORD_MISSING", r"Missing \w+ password|a password is required", "the password for root",
          "ansible_become_password"),
    Cause("BECOME_PASSWORD_WRONG", r"Incorrect \w+ password|Sorry, try again|Authentication failure",
          "the right password for root", "ansible_become_password"),
    Cause("BECOME_NEEDS_TERMINAL", r"must have a tty|terminal is required", "sudo without a terminal",
          "ansible_pipelining"),
    Cause("BECOME_NOT_ALLOWED",
          r"not in the sudoers|not allowed to (?:execute|run)|may not run sudo|doas: Operation not",
          "a user who may become root", "ansible_user"),
    Cause("BECOME_PROGRAM_MISSING", r"(?:sudo|su|doas): (?:command )?not found|could not find matching plugin",
          "sudo, su or doas on the host", "ansible_become_method"),
    Cause("BECOME_TIMEOUT", r"waiting for privilege escalation", "a prompt for the password, or a shell of root",
          "ansible_become_method"),
    Cause("ACL_MISSING", r"(Failed to set permissions on the temporary files) Ansible needs",
          "root, or the program setfacl", "ansible_become_user"),
    Cause("PYTHON_MISSING",
          r"interpreter .* was not found|python[\w.]*: (?:No such file|(?:command )?not found|error while loading)",
          "Python 3.9 or newer", "ansible_python_interpreter"),
    Cause("PYTHON_OLD", r"minimum of Python|SyntaxError|/python(?:2\.\d|3\.[0-8])/",
          "Python 3.9 or newer", "ansible_python_interpreter"),
    Cause("TEMPORARY_FOLDER_FULL", r"No space left on device|[Dd]isk quota exceeded", "room for temporary files",
          "ansible_remote_tmp"),
    Cause("TEMPORARY_FOLDER_UNWRITABLE", r"Failed to create temporary directory.*(Failed command was.*)"
          r"|No usable temporary directory|cannot create directory|Read-only file system",
          "a folder for temporary files", "ansible_remote_tmp"),
)  # fmt: skip
NO_ANSWER = Cause("HOST_UNREACHABLE", "", "an answer over SSH")
NO_JSON = Cause("SHELL_PRINTS", r"deserialization failed", "only the answer of the module")
SILENT = Cause("BECOME_NOT_ALLOWED", "", "a user who may become root", "ansible_user")


def unreached(answer: Mapping[str, Any]) -> Finding | None:
    """The finding for an answer of Ansible that is not an observation; None for one that may be."""
    if not answer.get("unreachable") and not answer.get("failed"):
        return None
    given = answer.get("finding") or {}
    if given.get("code") in KNOWN_TO_HOSTS:
        return finding(
            given["code"], found=_short(str(given.get("found"))), expected=_short(str(given.get("expected")))
        )
    lines = [*_lines(answer, *PLACES)]
    for cause in CAUSES:
        for line in lines:
            if fits := re.search(cause.words, line):
                more = [one for one in lines if cause.also and re.search(cause.also, one)]
                return _named(cause, "; ".join([fits[1] if fits.re.groups and fits[1] else line, *more]))
    if not any(re.search(NO_JSON.words, line) for line in lines):
        return _named(NO_ANSWER, " ".join(lines))
    if printed := [*_lines(answer, *PLACES[1:])]:
        return _named(NO_JSON, printed[0])
    # Ansible loses the words of sudo when they repeat the command, which holds its own mark of success.
    return _named(SILENT, f"the host ended with {answer.get('rc')} without a message, as when sudo refuses the command")


def _named(cause: Cause, found: str) -> Finding:
    return finding(cause.code, found=_short(found) or "no message", expected=cause.expected, variable=cause.variable)


def _lines(answer: Mapping[str, Any], *places: str) -> Iterator[str]:
    for place in places:
        text = str(answer.get(place) or "")
        for line in (text if len(text) < 2 * READ else f"{text[:READ]}\n{text[-READ:]}").splitlines():
            if line.strip():
                yield line.strip().removeprefix("Task failed: ").removeprefix("Failed to connect to the host via ssh: ")


def _short(text: str) -> str:
    """So much of it as a person reads, and nothing that a terminal obeys."""
    line = shown.line(text)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"
