"""Why a host was not observed: real messages of ssh, sudo, Python and Ansible, as findings."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.canvas.fleet.plugins.module_utils.findings import of_reach
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import CATALOGUE
from ansible_collections.canvas.fleet.plugins.module_utils.plan.unreached import CAUSES, LONGEST, unreached

from tests.unit.support.places import ROOT

# Made by tests/chaos/reach.py on a real host.
RECORDED: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "tests/fixtures/ansible/unreached.yml").read_text())


@pytest.mark.parametrize("fault", RECORDED)
def test_a_fault_has_its_code(fault: str) -> None:
    found = unreached(RECORDED[fault])
    assert found is not None
    assert found.code == RECORDED[fault]["code"]
    assert found.found.isprintable()
    assert len(found.found) <= LONGEST + 1


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param("another host key than the known one", "SHA256:", id="the fingerprint, to be compared"),
        pytest.param("another host key than the known one", "Offending", id="the line of known_hosts"),
        pytest.param("a login that only says to use another one", "login as the user ubuntu", id="which user to take"),
        pytest.param("a login shell that prints before the answer", "welcome to the machine", id="what was printed"),
        pytest.param("no folder for temporary files", "['/tmp', '/var/tmp'", id="the folders that were tried"),
        pytest.param("Ansible's own folder is another account's", "/root/t", id="the folder that cannot be made"),
        pytest.param("an account that sudo does not know", "nobodys is not in the sudoers file", id="sudo's own words"),
    ],
)
def test_the_finding_holds_the_words_that_a_person_needs(fault: str, words: str) -> None:
    found = unreached(RECORDED[fault])
    assert found is not None
    assert words in found.found


def failed(**said: Any) -> dict[str, Any]:
    return {"failed": True, **said}


NO_JSON = "Module result deserialization failed: No start of json char found"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(
            {"unreachable": True, "msg": "ssh: connect: Network is unreachable"}, "HOST_UNREACHABLE", id="net"
        ),
        pytest.param({"unreachable": True, "msg": "No route to host"}, "HOST_UNREACHABLE", id="route"),
        pytest.param({"unreachable": True}, "HOST_UNREACHABLE", id="no words"),
        pytest.param({"unreachable": True, "msg": "connect: Operation timed out"}, "SSH_TIMEOUT", id="ssh of a Mac"),
        pytest.param(
            {"unreachable": True, "msg": "ssh_exchange_identification: read: Success"}, "SSH_CLOSED", id="an older ssh"
        ),
        pytest.param({"unreachable": True, "msg": "Connection reset by 10.0.0.9 port 22"}, "SSH_CLOSED", id="a reset"),
        pytest.param({"unreachable": True, "msg": "Connection closed by 10.0.0.9 port 22"}, "SSH_CLOSED", id="closed"),
        pytest.param({"unreachable": True, "msg": "Invalid/incorrect password: x"}, "SSH_LOGIN_REFUSED", id="sshpass"),
        pytest.param(
            {"unreachable": True, "msg": "Your account has expired; please contact your system administrator."},
            "SSH_PASSWORD_EXPIRED",
            id="an account that has run out",
        ),
        pytest.param(
            {"unreachable": True, "msg": "@ WARNING: REVOKED HOST KEY DETECTED! @"}, "HOST_KEY_CHANGED", id="revoked"
        ),
        pytest.param(failed(msg=NO_JSON, module_stderr="Sorry, try again."), "BECOME_PASSWORD_WRONG", id="sudo again"),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="su: Authentication failure"), "BECOME_PASSWORD_WRONG", id="su again"
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="Sorry, user bob may not run sudo on gpu-01."),
            "BECOME_NOT_ALLOWED",
            id="no",
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="Sorry, user bob is not allowed to execute '/bin/sh' as root on gpu-01."),
            "BECOME_NOT_ALLOWED",
            id="another command",
        ),
        pytest.param(
            failed(msg="The module interpreter '/opt/py' was not found."), "PYTHON_MISSING", id="Ansible's own words"
        ),
        pytest.param(
            failed(
                msg=NO_JSON, module_stderr="/opt/bin/python3: error while loading shared libraries: libpython3.9.so"
            ),
            "PYTHON_MISSING",
            id="a Python that is broken",
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="bash: /usr/bin/python3: No such file or directory"),
            "PYTHON_MISSING",
            id="words of bash",
        ),
        pytest.param(
            failed(msg="mkdir: cannot create directory '/root/x': Permission denied"),
            "TEMPORARY_FOLDER_UNWRITABLE",
            id="mk",
        ),
        pytest.param(failed(msg="/srv/x: Read-only file system"), "TEMPORARY_FOLDER_UNWRITABLE", id="read-only"),
        pytest.param(failed(msg="Task failed: Missing su password"), "BECOME_PASSWORD_MISSING", id="su"),
        pytest.param(failed(msg="Incorrect doas password"), "BECOME_PASSWORD_WRONG", id="doas"),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="doas: Operation not permitted"), "BECOME_NOT_ALLOWED", id="doas no"
        ),
        pytest.param(
            failed(
                msg=NO_JSON, module_stderr="bob is not allowed to run sudo on gpu-01.  This incident will be reported."
            ),
            "BECOME_NOT_ALLOWED",
            id="an older sudo",
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="sudo: a terminal is required to read the password"),
            "BECOME_NEEDS_TERMINAL",
            id="a newer sudo",
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="sudo: a password is required"), "BECOME_PASSWORD_MISSING", id="sudo -n"
        ),
        pytest.param(
            failed(msg="ansible-core requires a minimum of Python version 3.9. Current version: 3.6.8"),
            "PYTHON_OLD",
            id="Ansible's own check",
        ),
        pytest.param(
            failed(msg=NO_JSON, module_stderr="sh: /usr/bin/python3: command not found"),
            "PYTHON_MISSING",
            id="no python",
        ),
        pytest.param(
            failed(msg="[Errno 122] Disk quota exceeded: '/home/u/.ansible'"), "TEMPORARY_FOLDER_FULL", id="a quota"
        ),
        pytest.param(
            failed(finding={"code": "NOT_ROOT", "found": "the account 1000", "expected": "root"}),
            "NOT_ROOT",
            id="no root",
        ),
        pytest.param(
            failed(finding={"code": "HOST_ANSWER_MALFORMED", "found": "x", "expected": "y"}),
            "HOST_ANSWER_MALFORMED",
            id="an answer of another form",
        ),
        pytest.param(
            failed(finding={"code": "GPU_BUSY", "found": "x"}), "HOST_UNREACHABLE", id="a host names its code"
        ),
        pytest.param(failed(finding={"code": []}, msg="odd"), "HOST_UNREACHABLE", id="a code that is no text"),
    ],
)
def test_other_words_of_the_same_causes(answer: dict[str, Any], code: str) -> None:
    found = unreached(answer)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize("answer", [{}, {"observation": {}}, {"changed": False, "failed": False, "msg": "timed out"}])
def test_an_answer_that_did_not_fail_names_nothing(answer: dict[str, Any]) -> None:
    assert unreached(answer) is None


def test_what_a_host_prints_cannot_reach_the_terminal() -> None:
    found = unreached(failed(msg=NO_JSON, module_stdout="\x1b]52;c;aGk=\x07\u202e\udc80" + "x" * 5000))
    assert found is not None
    assert (found.code, found.found.isprintable(), len(found.found)) == ("SHELL_PRINTS", True, LONGEST + 1)


def test_what_a_login_prints_before_a_long_answer_is_shown() -> None:
    found = unreached(failed(msg=NO_JSON, module_stdout="{welcome\n" + '{"observation": 1}\n' * 5000))
    assert found is not None
    assert found.found == "{welcome"


def test_every_cause_is_of_the_catalogue_and_was_recorded_or_tried() -> None:
    assert {cause.code for cause in CAUSES} <= set(of_reach.ENTRIES)
    recorded = {answer["code"] for answer in RECORDED.values()}
    assert set(of_reach.ENTRIES) - recorded == {"HOST_UNREACHABLE", "HOST_MISSING", "NOT_ROOT"}
    assert all(CATALOGUE[code].severity == "error" for code in of_reach.ENTRIES)
