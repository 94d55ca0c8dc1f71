"""The model folder against a real hub server of ours: fetched, adopted, refused, cut at any point."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import record as weights_record
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import work as weights_work
from ansible_collections.canvas.fleet.plugins.module_utils.system import folders
from ansible_collections.canvas.fleet.plugins.module_utils.system import hub as weights_hub

from demo.depot import hub
from demo.depot.server import make_server

FILES = {
    "ema.safetensors": b"weights of the model " * 60_000,  # 1.26 MB: kept in large-file storage
    "ae.safetensors": b"vae " * 1000,
    "config.json": b'{"a": 1}\n',
    "merges.txt": b"a b\n" * 50,
}


class Depot:
    """A hub with one repository, what it was asked for, and ways to make it fail."""

    def __init__(self, root: Path) -> None:
        model = root / "model"
        model.mkdir()
        for name, content in FILES.items():
            (model / name).write_bytes(content)
        (root / "hf").mkdir()
        self.facts = hub.make_hub(root / "hf", model, b'{"a": 0}\n')
        self.root = root
        self.log = root / "access.log"
        self.server = make_server(root, 0, "127.0.0.1", self.log)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hf"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def requests(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []

    def blob(self, name: str) -> Path:
        return self.root / "hf" / hub.REPO / "blobs" / self.facts["weights_sha256"][name]


@pytest.fixture
def depot(tmp_path: Path) -> Iterator[Depot]:
    made = Depot(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def spec(tmp_path: Path, depot: Depot) -> dict[str, Any]:
    return {
        "fleet_state_dir": str(tmp_path / "state"),
        "weights_repo": hub.REPO,
        "weights_revision": depot.facts["weights_revision"],
        "weights_endpoint": depot.url,
        "weights_dir": str(tmp_path / "models" / "bagel"),
        "weights_files": list(FILES),
        "weights_sha256": {},
        "weights_stall_timeout": 0,
        "weights_token": "",
    }


def folder(spec: dict[str, Any]) -> Path:
    return Path(spec["weights_dir"])


def contents(spec: dict[str, Any]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder(spec).iterdir()}


def reasons(spec: dict[str, Any]) -> list[str]:
    return weights_work.preview(spec)


def test_an_empty_folder_gets_every_file_and_is_in_sync_after(spec: dict[str, Any]) -> None:
    assert reasons(spec) == [f"not there: {', '.join(FILES)}"]
    done = weights_work.work(spec, Progress())
    assert done["changed"]
    assert sorted(done["fetched"]) == sorted(FILES)
    assert contents(spec) == FILES
    assert reasons(spec) == []
    assert weights_work.work(spec, Progress())["changed"] is False


def test_files_that_a_user_brought_are_adopted_and_not_fetched(spec: dict[str, Any], depot: Depot) -> None:
    folder(spec).mkdir(parents=True)
    for name in ("ema.safetensors", "merges.txt"):
        (folder(spec) / name).write_bytes(FILES[name])
    inode = (folder(spec) / "ema.safetensors").stat().st_ino
    done = weights_work.work(spec, Progress())
    assert sorted(done["adopted"]) == ["ema.safetensors", "merges.txt"]
    assert sorted(done["fetched"]) == ["ae.safetensors", "config.json"]
    assert (folder(spec) / "ema.safetensors").stat().st_ino == inode
    assert not any("GET" in line and "ema.safetensors" in line for line in depot.requests())


def test_with_a_digest_for_each_file_a_whole_folder_needs_no_hub(spec: dict[str, Any], depot: Depot) -> None:
    folder(spec).mkdir(parents=True)
    for name, content in FILES.items():
        (folder(spec) / name).write_bytes(content)
    alone = {**spec, "weights_endpoint": "http://127.0.0.1:9", "weights_sha256": depot.facts["weights_sha256"]}
    assert sorted(weights_work.work(alone, Progress())["adopted"]) == sorted(FILES)
    assert reasons(alone) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"mine " * 252_000, "sha256", id="same size, other bytes"),
        pytest.param(b"short", "5 bytes", id="another size, which needs no reading of 29 GB"),
        pytest.param(b"", "0 bytes", id="an empty file"),
    ],
)
def test_a_users_file_that_differs_is_refused_before_anything_is_fetched(
    spec: dict[str, Any], depot: Depot, content: bytes, told: str
) -> None:
    folder(spec).mkdir(parents=True)
    (folder(spec) / "ema.safetensors").write_bytes(content)
    with pytest.raises(FleetError, match="not the one of this revision") as refused:
        weights_work.work(spec, Progress())
    assert f"ema.safetensors: {told}" in refused.value.found
    assert contents(spec) == {"ema.safetensors": content}
    assert not any("GET" in line for line in depot.requests())


def test_a_file_of_ours_is_replaced_by_that_of_another_revision(spec: dict[str, Any], depot: Depot) -> None:
    earlier = {**spec, "weights_revision": depot.facts["weights_revisions"][0]}
    weights_work.work(earlier, Progress())
    assert (folder(spec) / "config.json").read_bytes() == b'{"a": 0}\n'
    assert reasons(spec) == [f"revision {earlier['weights_revision'][:7]} instead of {spec['weights_revision'][:7]}"]
    assert weights_work.work(spec, Progress())["fetched"] == ["config.json"]
    assert contents(spec) == FILES


def test_an_adopted_file_is_not_replaced_by_that_of_another_revision(spec: dict[str, Any], depot: Depot) -> None:
    folder(spec).mkdir(parents=True)
    (folder(spec) / "config.json").write_bytes(b'{"a": 0}\n')
    weights_work.work({**spec, "weights_revision": depot.facts["weights_revisions"][0]}, Progress())
    with pytest.raises(FleetError, match="not the one of this revision"):
        weights_work.work(spec, Progress())
    assert (folder(spec) / "config.json").read_bytes() == b'{"a": 0}\n'


def test_a_file_that_was_changed_afterwards_is_noticed_and_refused(spec: dict[str, Any]) -> None:
    weights_work.work(spec, Progress())
    (folder(spec) / "config.json").write_bytes(b'{"a": 2}\n')
    assert reasons(spec) == ["not verified: config.json"]
    with pytest.raises(FleetError, match="not the one of this revision"):
        weights_work.work(spec, Progress())


class Cut(BaseException):
    """The process ends like after kill -9: nothing catches it."""


def cutting(monkeypatch: pytest.MonkeyPatch, depot: Depot, after: int) -> None:
    """The server drops each connection to ema.safetensors after so many bytes, and the client dies then."""
    handler = depot.server.RequestHandlerClass
    pour = handler.pour

    def dropping(self: Any, file: Any, left: int) -> None:
        if "ema" in self.path:
            pour(self, file, min(left, after))
            self.close_connection = True
            self.connection.close()
        else:
            pour(self, file, left)

    def die(seconds: float) -> None:
        raise Cut

    monkeypatch.setattr(handler, "pour", dropping)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", die)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # else the whole file is one piece


@pytest.mark.parametrize("after", [0, 1, 65_536, 700_000, 1_259_999])
def test_a_download_that_was_killed_goes_on_at_the_byte_where_it_was_cut(
    spec: dict[str, Any], depot: Depot, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as cut:
        cutting(cut, depot, after)
        with pytest.raises(Cut):
            weights_work.work(spec, Progress())
    part = next((folder(spec) / weights.STAGING).glob("ema*.part"))
    have = part.stat().st_size
    assert after - 1000 <= have <= after
    weights_work.work(spec, Progress())
    assert contents(spec) == FILES
    last = [line for line in depot.requests() if "GET" in line and "ema" in line][-1]
    assert f"bytes={have}-" in last if have else "bytes" not in last


class Moments(Progress):
    """Counts the moments of a run, and ends it at one of them."""

    def __init__(self, last: int) -> None:
        super().__init__()
        self.left = last

    def __call__(self, *arguments: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            self.pass_one()

    def pass_one(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def replace(self, source: str, target: str, **folders: int) -> None:
        self.pass_one()
        os.rename(source, target, **folders)
        self.pass_one()


def test_a_cut_at_any_moment_converges_on_the_next_run(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for moment in range(200):
        mine = {**spec, "weights_dir": str(tmp_path / f"m{moment}"), "fleet_state_dir": str(tmp_path / f"s{moment}")}
        moments = Moments(moment)
        with monkeypatch.context() as cut:
            cut.setattr(os, "replace", moments.replace)
            try:
                weights_work.work(mine, moments)
            except Cut:
                pass
            else:
                break
        weights_work.work(mine, Progress())
        assert contents(mine) == FILES
        assert reasons(mine) == []
    assert 4 * len(FILES) < moment < 199


def test_a_part_with_wrong_bytes_is_fetched_once_more_from_the_beginning(spec: dict[str, Any], depot: Depot) -> None:
    staging = folder(spec) / weights.STAGING
    staging.mkdir(parents=True)
    etag = depot.facts["weights_sha256"]["ema.safetensors"]
    (staging / f"ema.safetensors.{etag}.part").write_bytes(b"x" * 500_000)
    (staging / "ema.safetensors.of-an-older-revision.part").write_bytes(b"dead")
    weights_work.work(spec, Progress())
    assert contents(spec) == FILES


def test_bytes_that_are_not_what_the_hub_announced_never_get_a_name(spec: dict[str, Any], depot: Depot) -> None:
    blob = depot.blob("ae.safetensors")
    content = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(b"bad " + content[4:])
    with pytest.raises(FleetError, match="other content than it announces"):
        weights_work.work(spec, Progress())
    assert not (folder(spec) / "ae.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "variable"),
    [
        pytest.param({"weights_repo": "canvas-fleet/none"}, "weights_repo", id="no such repository"),
        pytest.param({"weights_revision": "0" * 40}, "weights_revision", id="no such revision"),
        pytest.param({"weights_files": ["none.json"]}, "weights_files", id="no such file"),
        pytest.param({"weights_repo": hub.GATED}, "weights_token", id="a repository that needs a token"),
        pytest.param({"weights_endpoint": "http://127.0.0.1:9"}, "weights_endpoint", id="nobody answers"),
        pytest.param({"weights_sha256": {"ema.safetensors": "0" * 64}}, "weights_sha256", id="another file was meant"),
    ],
)
def test_what_cannot_be_had_names_its_variable(spec: dict[str, Any], change: dict[str, Any], variable: str) -> None:
    with pytest.raises(FleetError) as refused:
        weights_work.work({**spec, **change}, Progress())
    assert refused.value.variable == variable
    assert contents(spec) == {}


def test_a_token_opens_a_repository_that_needs_one(spec: dict[str, Any]) -> None:
    weights_work.work({**spec, "weights_repo": hub.GATED, "weights_token": hub.TOKEN}, Progress())
    assert contents(spec) == FILES


def test_a_small_disk_is_told_before_anything_is_fetched(
    spec: dict[str, Any], depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "free", lambda path: 1_000_000)
    with pytest.raises(FleetError, match="disk is too small"):
        weights_work.work(spec, Progress())
    assert not any("GET" in line for line in depot.requests())


def test_a_connection_that_comes_back_in_time_is_waited_for(spec: dict[str, Any], depot: Depot) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        hub_client._endpoint = depot.url

    hub_client = weights_hub.Hub(hub.REPO, spec["weights_revision"], "http://127.0.0.1:9", "", 60, sleep=nap)
    assert hub_client.describe("config.json").size == len(FILES["config.json"])
    assert naps == [weights_hub.RETRY]


def test_a_branch_is_resolved_once_and_recorded_with_its_commit(spec: dict[str, Any], depot: Depot) -> None:
    branch = {**spec, "weights_revision": "main"}
    assert weights_work.work(branch, Progress())["revision"] == depot.facts["weights_revision"]
    assert reasons(branch) == []
    record = json.loads(weights_record.path(spec).read_text())
    assert (record["asked"], record["revision"]) == ("main", depot.facts["weights_revision"])


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        pytest.param("http://hub.test/elsewhere", True, id="the hub itself"),
        pytest.param("http://storage.test/signed", False, id="a storage elsewhere"),
    ],
)
def test_the_token_goes_to_the_hub_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, kept: bool
) -> None:
    sent: list[dict[str, str]] = []

    class Metadata:
        def __init__(self) -> None:
            self.location = location

    def http_get(url: str, out: Any, **named: Any) -> None:
        sent.append(named["headers"])

    monkeypatch.setattr("huggingface_hub.file_download.http_get", http_get)
    client = weights_hub.Hub("org/model", "main", "http://hub.test", "hf_secret", 0)
    monkeypatch.setattr(client, "_metadata", lambda name, revision: Metadata())
    client.fetch(weights_hub.HubFile("a", 5, "e", "c"), tmp_path / "a.part")
    assert ("hf_secret" in str(sent)) is kept


def test_dead_parts_make_room_before_the_disk_is_measured(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = folder(spec) / weights.STAGING
    staging.mkdir(parents=True)
    (staging / "ema.safetensors.of-an-older-revision.part").write_bytes(b"dead")

    def measure(path: Path) -> None:
        assert list(staging.iterdir()) == []
        raise Cut

    monkeypatch.setattr(folders, "free", measure)
    with pytest.raises(Cut):
        weights_work.work(spec, Progress())


def test_an_endpoint_that_is_no_hub_is_told(spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        etag = size = commit_hash = None

    monkeypatch.setattr(weights_hub.Hub, "_metadata", lambda self, name, revision: Nothing())
    with pytest.raises(FleetError, match="size, digest and commit"):
        weights_work.work(spec, Progress())
