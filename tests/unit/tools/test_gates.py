"""The gates: what they take for a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools import artifact, gates


@pytest.mark.parametrize(
    ("gate", "output", "code"),
    [
        pytest.param("importer", "Importer processing completed successfully\n", 0, id="an import without a word"),
        pytest.param("importer", "WARNING: no changelog\n", 1, id="an import with a warning"),
        pytest.param("sanity", 'Running sanity test "pep8"\n', 0, id="sanity"),
        pytest.param("sanity", "WARNING: All targets skipped.\n", 1, id="sanity that found nothing to test"),
    ],
)
def test_a_gate_fails_also_where_its_program_ends_with_0(
    gate: str, output: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(*_words: Any, **_named: Any) -> tuple[int, str]:
        return 0, output

    monkeypatch.setattr(gates, "run", ran)
    monkeypatch.setattr(gates, "ROOT", tmp_path)
    monkeypatch.setattr(gates, "INSTALLED", tmp_path)
    monkeypatch.setattr(gates, "pip_version", lambda: "24.2")
    assert gates.GATES[gate](whole=False) == code


def test_every_documented_plugin_is_excepted_from_the_rules_that_do_not_apply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugins" / "modules").mkdir(parents=True)
    (tmp_path / "plugins" / "modules" / "plan.py").touch()
    monkeypatch.setattr(gates, "INSTALLED", tmp_path)
    gates.exceptions(tmp_path)
    (made,) = tmp_path.glob("ignore-2.*.txt")
    assert made.read_text().splitlines() == [f"plugins/modules/plan.py {rule}" for rule in gates.DO_NOT_APPLY]


def test_the_artifact_is_made_of_what_git_knows(tmp_path: Path) -> None:
    artifact.source(tmp_path)
    assert (tmp_path / "README.md").read_text() == (artifact.ROOT / artifact.README).read_text()
    assert not (tmp_path / ".venv").exists()
    assert (tmp_path / "galaxy.yml").is_file()
