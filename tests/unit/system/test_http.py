import hashlib
import http.server as servers
import threading
from urllib.parse import urlsplit

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system import http
from ansible_collections.canvas.fleet.plugins.module_utils.system.http import fetch, fetch_part

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(BODY).hexdigest()


class Server(servers.BaseHTTPRequestHandler):
    """Serves `body`; `cuts` says after how many bytes the next answers break off, `failures` which codes come first."""

    body, cuts, failures, asked, ranges, weak, said = BODY, [], [], [], True, False, []
    heedless = False  # it gives the rest of whatever file it has now
    leads, heard = {}, []  # where a path leads; the headers of each question

    def do_GET(self):
        cls = type(self)
        cls.asked.append(self.headers.get("Range", ""))
        cls.heard.append(dict(self.headers))
        if urlsplit(self.path).path in cls.leads:
            self.send_response(302)
            self.send_header("Location", cls.leads[urlsplit(self.path).path])
            self.end_headers()
            return
        if cls.failures:
            self.send_error(cls.failures.pop(0))
            return
        # A weak mark says that two bodies mean the same, not that their bytes are the same.
        mark = 'W/"v1"' if cls.weak else f'"{hashlib.sha256(cls.body).hexdigest()[:8]}"'
        start = 0
        same = cls.heedless or self.headers.get("If-Range", mark) == mark
        if cls.ranges and self.headers.get("Range") and same:
            start = int(self.headers["Range"][6:].split("-")[0])
        if start >= len(cls.body):
            self.send_error(416)
            return
        content = cls.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", mark)
        if start and cls.said:
            self.send_header("Content-Range", cls.said.pop(0))
        elif start:
            self.send_header("Content-Range", f"bytes {start}-{len(cls.body) - 1}/{len(cls.body)}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: cls.cuts.pop(0)] if cls.cuts else content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(http, "PAUSE", 0.001)
    Server.body, Server.cuts, Server.failures, Server.asked = BODY, [], [], []
    Server.ranges, Server.weak, Server.said, Server.heedless = True, False, [], False
    Server.leads, Server.heard = {}, []
    httpd = servers.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/data/train_split.parquet?key=s3cret"
    httpd.shutdown()
    httpd.server_close()


def quiet(done, total):
    pass


def test_fetches_and_tells_bytes(server, tmp_path):
    told = []
    fetch_part(server, tmp_path / "p", "dataset_train", lambda done, total: told.append((done, total)))
    assert (tmp_path / "p").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert [file.name for file in tmp_path.iterdir()] == ["p"]


def test_continues_where_the_connection_broke(server, tmp_path):
    Server.cuts = [300_000, 200_000]
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY
    assert Server.asked == ["", "bytes=300000-", "bytes=500000-"]


def test_a_killed_fetch_is_continued_by_the_next_call(server, tmp_path):
    class KilledError(BaseException):
        pass

    def killed(done, total):
        if done > 400_000:
            raise KilledError

    with pytest.raises(KilledError):
        fetch_part(server, tmp_path / "p", "dataset_train", killed)
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY
    assert Server.asked[1].startswith("bytes=")


def test_another_file_on_the_server_is_fetched_from_its_start(server, tmp_path):
    with pytest.raises(ZeroDivisionError):
        fetch_part(server, tmp_path / "p", "dataset_train", lambda done, total: 1 // 0)
    Server.body = b"other" * 200_000
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == Server.body


def test_a_file_with_a_weak_mark_is_never_continued(server, tmp_path):
    Server.weak = True
    with pytest.raises(ZeroDivisionError):
        fetch_part(server, tmp_path / "p", "dataset_train", lambda done, total: 1 // 0)
    assert (tmp_path / "p").stat().st_size
    Server.body = b"other" * 200_000
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == Server.body


def test_a_server_without_ranges_is_asked_again_from_the_start(server, tmp_path):
    Server.ranges, Server.cuts = False, [300_000]
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "p").read_bytes() == BODY


def test_a_busy_server_is_asked_again(server, tmp_path):
    Server.failures = [503, 429, 500]
    fetch_part(server, tmp_path / "p", "dataset_train", quiet)
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
        fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert told.value.variable == "dataset_train"
    assert len(Server.asked) == asked
    assert "s3cret" not in str(told.value)


def test_only_http_is_fetched(tmp_path):
    with pytest.raises(FleetError, match="only http"):
        fetch_part("file:///etc/passwd", tmp_path / "p", "dataset_train", quiet)


# --- a file whose digest is known


def get(url, path, sha256=SHA):
    told = []
    fetch(url, path, sha256, "the_variable", lambda done, total: told.append((done, total)))
    return told


@pytest.mark.parametrize("ranges", [True, False], ids=["server with ranges", "server without ranges"])
def test_a_known_file_arrives_whole_over_any_number_of_cuts(server, tmp_path, ranges):
    Server.cuts, Server.ranges = [700_000, 1, 300_000] if ranges else [700_000, 1, 0], ranges
    told = get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert Server.asked[1] == "bytes=700000-"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_whole_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "f").write_bytes(BODY)
    get(server, tmp_path / "f")
    assert Server.asked == []


def test_a_part_that_is_complete_is_taken_as_it_is(server, tmp_path):
    (tmp_path / f"f.{SHA[:8]}.part").write_bytes(BODY)
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert len(Server.asked) == 1


@pytest.mark.parametrize("part", [b"x" * 1000, b"x" * len(BODY), BODY + b"x"], ids=["short", "as long", "longer"])
def test_a_part_of_another_file_is_begun_anew(server, tmp_path, part):
    (tmp_path / f"f.{SHA[:8]}.part").write_bytes(part)
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert Server.asked == [f"bytes={len(part)}-", ""]


def test_another_file_than_meant_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(FleetError) as caught:
        get(server, tmp_path / "f", sha256="0" * 64)
    assert (caught.value.variable, SHA in caught.value.found) == ("the_variable", True)
    assert list(tmp_path.iterdir()) == []
    assert "s3cret" not in str(caught.value)


def test_a_known_file_may_lie_on_this_host(tmp_path):
    (tmp_path / "wheelhouse").write_bytes(BODY)
    get((tmp_path / "wheelhouse").as_uri(), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_link_in_the_place_of_a_part_is_not_written_through(server, tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "p").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert (tmp_path / "precious").read_text() == "precious"


# --- small answers


def test_an_answer_is_read_within_bounds(server):
    assert http.read(server, limit=10) == BODY[:10]
    with pytest.raises(FleetError, match="only http"):
        http.read("ftp://mirror.invalid/key", limit=4)


def test_a_proxy_is_asked_instead(server):
    with pytest.raises(OSError, match="refused"):
        http.read(server, limit=1, proxies={"http": "http://127.0.0.1:9"})


WRONG = ["bytes 0-99/1048576", "bytes 300001-1048575/1048576", "bytes */1048576", "", "items 300000-1/2"]


@pytest.mark.parametrize("said", WRONG)
@pytest.mark.parametrize("sha256", ["", SHA], ids=["an unknown file", "a known file"])
def test_a_partial_answer_that_begins_elsewhere_begins_the_file_anew(server, tmp_path, said, sha256):
    Server.cuts, Server.said = [300_000], [said]
    fetch_part(server, tmp_path / "p", "dataset_train", quiet, sha256=sha256)
    assert (tmp_path / "p").read_bytes() == BODY
    assert Server.asked == ["", "bytes=300000-", ""]


def test_the_rest_of_another_file_is_not_taken_though_the_server_gives_it(server, tmp_path):
    """Some ignore If-Range: then its own mark tells."""
    Server.cuts, Server.heedless = [300_000], True
    other = bytes(reversed(BODY))

    def changes(done, total):
        if done >= 250_000:
            Server.body = other

    fetch_part(server, tmp_path / "p", "dataset_train", changes)
    assert (tmp_path / "p").read_bytes() == other


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server, tmp_path):
    """The answer is 416."""
    part = tmp_path / "p"
    Server.cuts = [300_000]
    Server.failures = []
    with pytest.raises(KeyboardInterrupt):
        fetch_part(server, part, "dataset_train", interrupt)
    part.write_bytes(BODY + b"more")
    fetch_part(server, part, "dataset_train", quiet)
    assert part.read_bytes() == BODY


def interrupt(done, total):
    raise KeyboardInterrupt


def ask(url, **headers):
    with http._open(url, headers) as answer:
        return answer.read()


def test_a_login_does_not_follow_to_another_server(server):
    there = server.replace("127.0.0.1", "localhost")
    Server.leads = {"/away": there, "/near": server}
    login = {"Authorization": "Bearer s3cret", "Cookie": "a=b", "Range": "bytes=5-"}
    assert ask(server.replace("/data/train_split.parquet", "/near"), **login) == BODY[5:]
    assert Server.heard[1]["Authorization"] == "Bearer s3cret"
    assert ask(server.replace("/data/train_split.parquet", "/away"), **login) == BODY[5:]
    assert not {"Authorization", "Cookie"} & set(Server.heard[3])


@pytest.mark.parametrize("away", ["ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://x/"])
def test_a_server_leads_to_http_alone(server, tmp_path, away):
    Server.leads = {"/data/train_split.parquet": away}
    with pytest.raises(FleetError) as caught:
        fetch_part(server, tmp_path / "p", "dataset_train", quiet)
    assert "is refused" in caught.value.found or "not allowed" in caught.value.found
    assert "s3cret" not in str(caught.value)


def test_https_is_not_left_for_http():
    request = http.urllib.request.Request("https://a.test/x")
    with pytest.raises(http.urllib.error.HTTPError, match="is refused"):
        http._Redirects().redirect_request(request, None, 302, "Found", {}, "http://a.test/x")
