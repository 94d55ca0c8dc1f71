"""The depot's web server, asked by plain http and by huggingface_hub itself."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.depot import hub, server

BIG = bytes(range(256)) * 12_000  # 3 MB
Fetch = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("depot")
    model = folder / "model"
    model.mkdir()
    (model / "ema.safetensors").write_bytes(BIG)
    (model / "config.json").write_text('{"now": true}')
    (model / "merges.txt").write_text("")
    out = folder / "out"
    (out / "hf").mkdir(parents=True)
    facts = hub.make_hub(out / "hf", model, b'{"now": false}')
    (folder / "facts.json").write_text(json.dumps(facts))
    (out / "files").mkdir()
    (out / "files" / "a.sh").write_bytes(b"0123456789")
    (out / "simple" / "torch").mkdir(parents=True)
    (out / "simple" / "torch" / "index.html").write_text("<a>torch</a>")
    (out / "secret.txt").write_text("not served")
    (out / "files" / "way-out").symlink_to("../secret.txt")
    return out


@pytest.fixture(scope="module")
def facts(root: Path) -> dict[str, Any]:
    return dict(json.loads((root.parent / "facts.json").read_text()))


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    with server.make_server(root, 0, "127.0.0.1", root.parent / "access.log") as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def fetch(address: str) -> Fetch:
    def call(path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    return call


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        pytest.param("", 200, b"0123456789", id="no range gives the whole file"),
        pytest.param("bytes=0-3", 206, b"0123", id="the first four bytes"),
        pytest.param("bytes=7-", 206, b"789", id="the rest from a byte on"),
        pytest.param("bytes=-2", 206, b"89", id="the last two bytes"),
        pytest.param("bytes=8-99", 206, b"89", id="a range that ends beyond the file is cut"),
        pytest.param("bytes=0-1,4-5", 200, b"0123456789", id="several ranges give the whole file"),
        pytest.param("lines=1-2", 200, b"0123456789", id="an unknown unit gives the whole file"),
    ],
)
def test_ranges(fetch: Fetch, wanted: str, status: int, body: bytes) -> None:
    answer = fetch("/files/a.sh", **({"Range": wanted} if wanted else {}))
    assert (answer[0], answer[2]) == (status, body)
    assert answer[1]["content-length"] == str(len(body))


def test_a_range_behind_the_end_is_refused(fetch: Fetch) -> None:
    assert fetch("/files/a.sh", Range="bytes=10-")[0] == 416


@given(size=st.integers(1, 500), first=st.integers(0, 600), length=st.integers(1, 600))
def test_a_range_is_what_slicing_gives(size: int, first: int, length: int) -> None:
    content = bytes(n % 251 for n in range(size))
    header = f"bytes={first}-{first + length - 1}"
    expected = content[first : first + length]
    if not expected:
        with pytest.raises(server.HttpError):
            server.span(header, size)
    else:
        part = server.span(header, size)
        assert content[part.first : part.last + 1] == expected
        assert part.partial


def test_head_says_the_length_and_sends_nothing(fetch: Fetch) -> None:
    status, headers, body = fetch("/files/a.sh", "HEAD")
    assert (status, headers["content-length"], headers["content-type"], body) == (200, "10", "application/x-sh", b"")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/secret.txt", id="a file outside the served folders"),
        pytest.param("/files/../secret.txt", id="a way out by dots"),
        pytest.param("/files/%2e%2e/secret.txt", id="a way out by encoded dots"),
        pytest.param("/files/way-out", id="a link that leads out"),
        pytest.param("/files/none", id="a file that is not there"),
        pytest.param("/files/", id="a folder without index.html"),
        pytest.param("/hf/canvas-fleet/bagel-tiny/resolve/main/../../repo.json", id="a way out of the hub"),
    ],
)
def test_not_served(fetch: Fetch, path: str) -> None:
    status, _, body = fetch(path)
    assert status == 404
    assert b"not served" not in body


def test_a_folder_is_reached_with_and_without_slash(fetch: Fetch) -> None:
    status, headers, _ = fetch("/simple/torch")
    assert (status, headers["location"]) == (301, "/simple/torch/")
    assert fetch("/simple/torch/")[2] == b"<a>torch</a>"


def test_the_hub_tells_digest_size_and_commit_of_a_big_file(fetch: Fetch, facts: dict[str, Any]) -> None:
    revision = facts["weights_revision"]
    status, headers, _ = fetch(f"/hf/{hub.REPO}/resolve/{revision}/ema.safetensors", "HEAD")
    digest = hashlib.sha256(BIG).hexdigest()
    assert status == 200
    assert headers["x-linked-etag"] == f'"{digest}"'
    assert headers["x-linked-size"] == headers["content-length"] == str(len(BIG))
    assert headers["x-repo-commit"] == revision
    assert facts["weights_sha256"]["ema.safetensors"] == digest


@pytest.mark.parametrize(
    ("path", "code"),
    [
        pytest.param("/hf/api/models/nobody/nothing", "RepoNotFound", id="an unknown repository"),
        pytest.param(f"/hf/api/models/{hub.REPO}/revision/{'0' * 40}", "RevisionNotFound", id="an unknown revision"),
        pytest.param(f"/hf/{hub.REPO}/resolve/main/nothing.bin", "EntryNotFound", id="an unknown file"),
    ],
)
def test_the_hub_names_what_is_missing(fetch: Fetch, path: str, code: str) -> None:
    status, headers, _ = fetch(path)
    assert (status, headers["x-error-code"]) == (404, code)


def download(address: str, target: Path, repo: str = hub.REPO, **more: Any) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(repo, local_dir=target, endpoint=f"{address}/hf", **more))


def test_huggingface_hub_downloads_from_below_a_path(address: str, facts: dict[str, Any], tmp_path: Path) -> None:
    folder = download(address, tmp_path / "m", revision=facts["weights_revision"], token=False)
    assert (folder / "ema.safetensors").read_bytes() == BIG
    assert (folder / "merges.txt").read_bytes() == b""
    assert json.loads((folder / "config.json").read_text()) == {"now": True}


def test_the_earlier_revision_differs_in_its_configuration_alone(
    address: str, facts: dict[str, Any], tmp_path: Path
) -> None:
    folder = download(address, tmp_path / "m", revision=facts["weights_revisions"][0], token=False)
    assert json.loads((folder / "config.json").read_text()) == {"now": False}
    assert (folder / "ema.safetensors").read_bytes() == BIG


def test_the_gated_repository_wants_its_token(address: str, tmp_path: Path) -> None:
    from huggingface_hub.errors import HfHubHTTPError

    with pytest.raises(HfHubHTTPError):
        download(address, tmp_path / "without", hub.GATED, token=False)
    folder = download(address, tmp_path / "with", hub.GATED, token=hub.TOKEN)
    assert (folder / "ema.safetensors").read_bytes() == BIG


@pytest.mark.parametrize("name", ["rate", "rate-127.0.0.1"])
def test_a_rate_slows_a_download_that_is_under_way(name: str, address: str, root: Path) -> None:
    (root / "rate-10.0.0.1").write_text("1")  # another client's
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    try:
        (root / name).write_text("200000")
        connection.request("GET", f"/hf/{hub.REPO}/resolve/main/ema.safetensors")
        answer = connection.getresponse()
        begin = time.monotonic()
        answer.read(100_000)
        slow = time.monotonic() - begin
        (root / name).unlink()
        begin = time.monotonic()
        rest = answer.read()
        fast = time.monotonic() - begin
    finally:
        (root / name).unlink(missing_ok=True)
    assert 0.3 < slow < 3
    assert fast < 2  # 15 s at the slow rate
    assert len(rest) == len(BIG) - 100_000


def test_the_access_log_tells_what_was_asked_from_which_byte(fetch: Fetch, root: Path) -> None:
    fetch("/files/a.sh", Range="bytes=3-4")
    last = (root.parent / "access.log").read_text().splitlines()[-1]
    assert last == '127.0.0.1 bytes=3-4 "GET /files/a.sh HTTP/1.1" 206 -'
