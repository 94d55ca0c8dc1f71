"""Errors as data: a finding raised, carried to another machine, and given as a module's answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError, raise_for, reported
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import finding

SHORT = finding("DISK_SHORT", found="1 GB free", expected="9 GB free", variable="fleet_root")
NOTE = finding("LORA_RATE_LOW", found="ema 0", expected="a copy")
FULL = {
    "message": SHORT.because,
    "code": "DISK_SHORT",
    "variable": "fleet_root",
    "found": "1 GB free",
    "expected": "9 GB free",
    "remedy": SHORT.remedy,
}


class FailedError(Exception):
    """What fail_json does: it ends the module."""


def fail_json(**answer: Any) -> None:
    raise FailedError(answer)


def answer_of(error: Exception, **more: Any) -> dict[str, Any]:
    with pytest.raises(FailedError) as failed, reported(fail_json, lambda: more):
        raise error
    answer: dict[str, Any] = failed.value.args[0]
    return answer


def test_a_finding_is_raised_with_all_of_its_parts() -> None:
    with pytest.raises(FleetError) as raised:
        raise_for([NOTE, SHORT])
    assert raised.value.as_dict() == FULL
    assert str(raised.value).startswith(f"DISK_SHORT: {SHORT.because}; variable: fleet_root; found: 1 GB free")


@pytest.mark.parametrize("findings", [[], [NOTE], [dataclasses.replace(SHORT, accepted=True)]])
def test_what_does_not_refuse_is_not_raised(findings: list[Any]) -> None:
    raise_for(findings)


def test_the_first_is_raised_and_the_others_are_named() -> None:
    with pytest.raises(FleetError, match="1 GB free; and 1 more: NO_GPU") as raised:
        raise_for([SHORT, NOTE, finding("NO_GPU", found="none", expected="one")])
    assert raised.value.code == "DISK_SHORT"


def test_named_codes_are_raised_whatever_their_severity_and_no_others() -> None:
    raise_for([SHORT], ("LORA_RATE_LOW",))
    with pytest.raises(FleetError) as raised:
        raise_for([SHORT, NOTE], ("LORA_RATE_LOW",))
    assert (raised.value.code, raised.value.found) == ("LORA_RATE_LOW", "ema 0")


def test_an_error_is_the_same_on_the_other_machine() -> None:
    assert FleetError.from_dict(FleetError.of(SHORT).as_dict()).as_dict() == FULL
    assert FleetError.from_dict({"message": "m", "found": None, "other": 1}).as_dict() == {"message": "m"}


def test_a_module_answers_with_the_text_and_the_finding() -> None:
    error = FleetError.of(SHORT)
    assert answer_of(error, training={}) == {"msg": str(error), "finding": FULL, "training": {}}


def test_what_the_host_refuses_is_answered_too() -> None:
    answer = answer_of(PermissionError(13, "Permission denied", "/srv"))
    assert answer["finding"]["found"] == "/srv: Permission denied"
    assert "no_root_squash" in answer["finding"]["remedy"]


@pytest.mark.parametrize(
    ("number", "message"), [(28, "the disk is full"), (122, "the disk is full"), (5, "the host does not allow this")]
)
def test_a_full_disk_is_named_with_its_place_and_what_to_do(number: int, message: str) -> None:
    answer = answer_of(OSError(number, "words of the kernel", "/srv/x"))
    assert answer["msg"].startswith(f"{message}; found: /srv/x: words of the kernel")
    assert ("df -i" in answer["finding"].get("remedy", "")) == (message == "the disk is full")


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), reported(fail_json):
        raise ZeroDivisionError
