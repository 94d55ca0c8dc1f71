import hashlib
import http.server
import threading
from urllib.parse import urlsplit

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import resume as dataset_fetch
from ansible_collections.canvas.fleet.plugins.module_utils.system.resume import fetch_url, public

BODY = bytes(range(256)) * 4096  # 1 MiB


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `body`; `cuts` says after how many bytes the next answers break off, `failures` which codes come first."""

    body, cuts, failures, asked, ranges, weak = BODY, [], [], [], True, False

    def do_GET(self):
        cls = type(self)
        cls.asked.append(self.headers.get("Range", ""))
        if cls.failures:
            self.send_error(cls.failures.pop(0))
            return
        # A weak mark says that two bodies mean the same, not that their bytes are the same.
        mark = 'W/"v1"' if cls.weak else f'"{hashlib.sha256(cls.body).hexdigest()[:8]}"'
        start = 0
        if cls.ranges and self.headers.get("Range") and self.headers.get("If-Range") == mark:
            start = int(self.headers["Range"][6:-1])
        content = cls.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", mark)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: cls.cuts.pop(0)] if cls.cuts else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(dataset_fetch, "PAUSE", 0.001)
    Server.body, Server.cuts, Server.failures, Server.asked = BODY, [], [], []
    Server.ranges, Server.weak = True, False
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/data/train_split.parquet?key=s3cret"
    httpd.shutdown()
    httpd.server_close()


def quiet(done, total):
    pass


def test_fetches_and_tells_bytes(server, tmp_path):
    told = []
    fetch_url(server, tmp_path / "p", "dataset_train", lambda done, total: told.append((done, total)))
    assert (tmp_path / "p").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert [file.name for file in tmp_path.iterdir()] == ["p"]


def test_continues_where_the_connection_broke(server, tmp_path):
    Server.cuts = [300_000, 200_000]
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY
    assert Server.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_a_killed_fetch_is_continued_by_the_next_call(server, tmp_path):
    class KilledError(BaseException):
        pass

    def killed(done, total):
        if done > 400_000:
            raise KilledError

    with pytest.raises(KilledError):
        fetch_url(server, tmp_path / "p", "dataset_train", killed)
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY
    assert Server.asked[1].startswith("bytes=")


def test_another_file_on_the_server_is_fetched_from_its_start(server, tmp_path):
    with pytest.raises(ZeroDivisionError):
        fetch_url(server, tmp_path / "p", "dataset_train", lambda done, total: 1 // 0)
    Server.body = b"other" * 200_000
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == Server.body


def test_a_file_with_a_weak_mark_is_never_continued(server, tmp_path):
    Server.weak = True
    with pytest.raises(ZeroDivisionError):
        fetch_url(server, tmp_path / "p", "dataset_train", lambda done, total: 1 // 0)
    assert (tmp_path / "p").stat().st_size
    Server.body = b"other" * 200_000
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == Server.body


def test_a_server_without_ranges_is_asked_again_from_the_start(server, tmp_path):
    Server.ranges, Server.cuts = False, [300_000]
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY


def test_a_busy_server_is_asked_again(server, tmp_path):
    Server.failures = [503, 429, 500]
    fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert len(Server.asked) == 4


@pytest.mark.parametrize(
    ("failures", "asked"),
    [
        pytest.param([404], 1, id="a file that is not there is not asked for twice"),
        pytest.param([503] * 9, 5, id="a server that stays busy is given up"),
    ],
)
def test_gives_up(server, tmp_path, failures, asked):
    Server.failures = failures
    with pytest.raises(FleetError, match="cannot be fetched") as told:
        fetch_url(server, tmp_path / "p", "dataset_train", quiet)
    assert told.value.variable == "dataset_train"
    assert len(Server.asked) == asked
    assert "s3cret" not in str(told.value)


def test_only_http_is_fetched(tmp_path):
    with pytest.raises(FleetError, match="only http"):
        fetch_url("file:///etc/passwd", tmp_path / "p", "dataset_train", quiet)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("https://me:pw@host/a.parquet?sig=1", "https://host/a.parquet", id="login and query"),
        pytest.param("https://host:8443/a", "https://host:8443/a", id="a port is kept"),
        pytest.param("git@host:me/repo.git", "git@host:me/repo.git", id="git's own form"),
    ],
)
def test_what_is_printed_of_a_url(url, shown):
    assert public(url) == shown
    assert "pw" not in urlsplit(public(url)).netloc
