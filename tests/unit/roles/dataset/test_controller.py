from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import controller as dataset_controller
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import of_file

from tests.unit.support.dataset_files import row, settings, write


@pytest.fixture
def told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    train = write(tmp_path / "train_split.parquet", [row(n) for n in range(4)])
    return settings(tmp_path / "host", train, write(tmp_path / "test_split.parquet", [row(9)]))


def test_names_both_files_by_their_digest(told):
    found = dataset_controller.facts(told)
    assert {kind: entry.sha256 for kind, entry in found.items()} == {
        kind: of_file(told[f"dataset_{kind}"]) for kind in ("train", "test")
    }


def test_other_sources_have_nothing_here(told):
    assert dataset_controller.facts({**told, "dataset_source": "url"}) == {}


@pytest.mark.parametrize(
    ("change", "variable", "message"),
    [
        pytest.param({"dataset_train": "/none.parquet"}, "dataset_train", "DATASET_MISSING", id="no such file"),
        pytest.param(
            {"dataset_test_sha256": "0" * 64}, "dataset_test_sha256", "DATASET_DIGEST_WRONG", id="another digest"
        ),
    ],
)
def test_refuses(told, change, variable, message):
    with pytest.raises(FleetError, match=message) as error:
        dataset_controller.facts({**told, **change})
    assert error.value.variable == variable


def test_many_hosts_look_at_the_rows_once(told, monkeypatch):
    looked = []
    real = dataset_controller.inspect

    def spy(*paths, **more):
        looked.append(paths)
        return real(*paths, **more)

    monkeypatch.setattr(dataset_controller, "inspect", spy)
    found = dataset_controller.facts(told)
    with ThreadPoolExecutor(8) as hosts:
        answers = list(hosts.map(lambda _: dataset_controller.inspected(found), range(8)))
    assert len(looked) == 1
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].rows == 4


def test_a_file_that_was_written_again_is_read_again(told, tmp_path):
    before = dataset_controller.facts(told)["train"].sha256
    write(tmp_path / "train_split.parquet", [row(n) for n in range(5)])
    found = dataset_controller.facts(told)
    assert found["train"].sha256 != before
    assert dataset_controller.inspected(found).rows == 5
