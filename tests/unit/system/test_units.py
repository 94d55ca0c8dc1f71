import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import units


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that says what the test wants; returns the file of its calls."""
    monkeypatch.setattr(units, "PATH", f"{tmp_path}:/usr/bin:/bin")

    def says(text, code=0, error=""):
        tool = tmp_path / "systemctl"
        tool.write_text(
            f"#!/bin/sh\necho \"$@\" >>{tmp_path}/asked\nprintf '{text}'\necho '{error}' >&2\nexit {code}\n"
        )
        tool.chmod(0o755)
        return tmp_path / "asked"

    return says


def test_each_units_properties_come_in_the_order_of_the_units(systemctl):
    asked = systemctl("Id=a\\nX=1=2\\n\\nId=b\\nX=\\nrubbish\\n")
    assert units.show(("Id", "X"), "a", "b") == [{"Id": "a", "X": "1=2"}, {"Id": "b", "X": ""}]
    assert asked.read_text() == "show -pId -pX a b\n"


@pytest.mark.parametrize("active", ["active", "activating", "deactivating", "reloading", "inactive", "failed"])
def test_a_unit_that_starts_or_stops_runs(systemctl, active):
    systemctl(f"ActiveState={active}\\nResult=signal\\n")
    assert units.state("x") == units.UnitState(active, "signal")
    assert units.state("x").runs is (active not in ("inactive", "failed"))


def test_what_systemctl_says_is_the_error(systemctl):
    systemctl("", 1, "Unit x not loaded.")
    with pytest.raises(FleetError, match="systemctl stop x failed") as caught:
        units.must("stop", "x")
    assert caught.value.found == "Unit x not loaded."


def test_a_host_without_systemd_has_no_units(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "PATH", str(tmp_path))
    assert units.show(("Id",), "x") == []
    assert not units.state("x").runs
    assert units.Systemd().last_lines("x") == []
