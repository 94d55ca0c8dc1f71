"""What travels to each host to look at it: only what looks, and not too much of it."""

from __future__ import annotations

import re
from pathlib import PurePath

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.system.payload import closure, imports, sources

from tests.unit.support.places import ROOT

FILES, BYTES = 105, 475_000  # a budget; 101 files and 469 kB with the words of failures
JUDGES = re.compile(
    r"findings/(?!shape\.py)|plan/|work/|teardown/|peers/(?!secret\.py)|checkpoints/guard\.py|supervisor/(?!record\.py)|machine/(?:fit/|findings\.py|disagreements\.py)"
    r"|.*/(?:decide|apply\w*|work|judge|script|text|steps|host|refusals|patching|leftovers|\w*findings)\.py"
)


@pytest.fixture(scope="module")
def travels() -> dict[str, bytes]:
    """The files of ours that Ansible packs with the module host_info."""
    ours = sources()
    module = (ROOT / "plugins/modules/host_info.py").read_bytes().replace(b"from ..module_utils.", b"from .")
    begin = imports("host_info.py", module, ours)
    return {path: source for name in begin for path, source in closure(name, ours).items()}


def test_nothing_travels_that_judges_or_changes_a_host(travels: dict[str, bytes]) -> None:
    assert "roles/training/read.py" in travels, "the reading itself has to be among them"
    assert sorted(path for path in travels if JUDGES.match(path)) == []


def test_what_travels_is_within_its_budget(travels: dict[str, bytes]) -> None:
    largest = sorted(travels, key=lambda path: -len(travels[path]))[:5]
    size = sum(map(len, travels.values()))
    assert len(travels) <= FILES, f"{len(travels)} files"
    assert size <= BYTES, f"{size} bytes; the largest: {', '.join(PurePath(path).name for path in largest)}"
