"""Findings as text: once for all hosts, the brief ones in one line, errors last."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.topology import Topology
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import Finding, finding
from ansible_collections.canvas.fleet.plugins.module_utils.plan import findings_text as text
from ansible_collections.canvas.fleet.plugins.module_utils.plan.make import HostPlan, Plan


def at(host: str, found: str = "x", code: str = "NO_GPU", run: str = "r", **changes: str) -> Finding:
    return replace(finding(code, host=host, found=found, expected="y"), run=run, **changes)  # type: ignore[arg-type]


def plan(*findings: Finding) -> Plan:
    return Plan({"h": HostPlan("h", Topology("r", ("h",), 0, 8, 4, "localhost", 29501), {}, findings, "")})


def test_what_holds_for_several_hosts_is_shown_once() -> None:
    lines = text.findings_of(plan(*(at(f"n{n:02}") for n in range(1, 51))))
    assert [line for line in lines if line.startswith("error")] == [f"error    {'NO_GPU':<24} run r hosts n[01-50]"]
    assert lines.count("  found     x") == 1


def test_what_was_found_is_said_for_each_host_where_it_differs() -> None:
    lines = text.block([at("n1", "4 GB"), at("n2", "5 GB"), at("n3", "4 GB")])
    assert lines[1:3] == ["  found     n[1,3]: 4 GB", "            n2: 5 GB"]
    many = text.block([at(f"n{n}", f"{n} GB") for n in range(20)])
    assert [line.strip() for line in many[1:7]][4:] == ["n4: 4 GB", "and 15 more"]


@pytest.mark.parametrize(
    "changes", [{"variable": "v"}, {"expected": "z"}, {"remedy": "another"}, {"code": "NO_SYSTEMD"}]
)
def test_what_differs_in_the_cure_is_shown_apart(changes: dict[str, str]) -> None:
    lines = text.findings_of(plan(at("n1"), at("n2", **changes)))
    assert len([line for line in lines if line.startswith("error")]) == 2


@pytest.mark.parametrize(
    ("findings", "place"),
    [
        pytest.param([at("n1")], "run r host n1", id="one"),
        pytest.param([at("n1", run="n1")], "host n1", id="a run with the name of its host"),
        pytest.param([at("n1"), at("n2")], "run r hosts n[1-2]", id="two of a run"),
        pytest.param([at("n1", run="a"), at("n2", run="b")], "hosts n[1-2]", id="two of two runs"),
        pytest.param([at("", run="")], "", id="nowhere, as before a host is asked"),
    ],
)
def test_the_place_of_findings(findings: list[Finding], place: str) -> None:
    assert text.place(findings) == place


def test_what_asks_nothing_of_the_user_takes_a_line() -> None:
    notes = [at(f"n{n}", "613 texts", "INDEX_HAS_NULLS") for n in (1, 2)]
    known = replace(at("n3", "little"), accepted=True)
    lines = text.findings_of(plan(at("n4"), *notes, known))
    assert lines[:3] == [
        f"accepted {'NO_GPU':<24} n3: little",
        f"note     {'INDEX_HAS_NULLS':<24} n[1-2]: 613 texts",
        "",
    ]
    assert len(text.brief([at("n1", "x" * 500, "INDEX_HAS_NULLS")], 79)) == 79


def test_a_line_hides_nothing_else_of_its_code() -> None:
    """Three names that no role knows are three mistakes, though each is accepted."""
    unknown = [
        replace(at("n1", f"{name}, which no role knows", "VARIABLE_UNKNOWN", variable=name), accepted=True)
        for name in ("training_gpu", "weights_folder", "dataset_file")
    ]
    lines = text.findings_of(plan(*unknown))
    assert [line.split()[3] for line in lines if line] == ["dataset_file,", "training_gpu,", "weights_folder,"]
    assert text.counts(unknown) == "3 accepted"


def test_a_line_says_how_much_else_was_found_however_narrow_it_is() -> None:
    notes = [at(f"n{n}", f"{n}13 texts" + " x" * 100, "INDEX_HAS_NULLS") for n in (1, 2, 3, 3)]
    line = text.brief(notes, 79)
    assert len(line) == 79
    assert "n[1-3]: 113 texts" in line
    assert line.endswith("… (and 2 more)")


def test_errors_stand_last_and_the_count_is_of_what_is_shown() -> None:
    found = [at("n1"), at("n2"), at("n1", code="UPSTREAM_UNKNOWN"), replace(at("n3"), accepted=True)]
    heads = [line.split()[:2] for line in text.findings_of(plan(*found)) if line and line[0] != " "]
    assert [code for _, code in heads] == ["NO_GPU", "UPSTREAM_UNKNOWN", "NO_GPU"]
    assert heads[-1] == ["error", "NO_GPU"]
    assert text.counts(found) == "1 error, 1 warning, 1 accepted"
    assert text.counts([]) == "no findings"


def test_the_findings_of_some_codes_alone() -> None:
    made = plan(at("h", code="SSH_TIMEOUT"), at("h"))
    heads = [line.split()[1] for line in text.findings_of(made) if line.startswith("error")]
    assert heads == ["SSH_TIMEOUT", "NO_GPU"]
    assert text.findings_of(made, {"NO_GPU"})[0].split()[:2] == ["error", "NO_GPU"]
    assert text.findings_of(made, ()) == []
