import hashlib
import http.server
import threading
from typing import ClassVar

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.system.download import fetch

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA = hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Serves BODY; `cuts` lists after how many bytes each answer breaks off, `ranges` whether Range is honoured."""

    cuts: ClassVar[list[int]] = []
    ranges = True
    asked: ClassVar[list[str]] = []
    status = 0

    def do_GET(self):
        wanted = self.headers.get("Range", "")
        type(self).asked.append(wanted)
        if self.status:
            self.send_error(self.status)
            return
        start = int(wanted[6:-1]) if wanted and self.ranges else 0
        if start >= len(BODY):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        cut = self.cuts.pop(0) if self.cuts else None
        self.wfile.write(BODY[start : start + cut if cut is not None else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    Server.cuts, Server.ranges, Server.asked, Server.status = [], True, [], 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/file"
        httpd.shutdown()


def get(url, path, sha256=SHA):
    told = []
    fetch(url, str(path), sha256, "the_variable", lambda done, total: told.append((done, total)), pause=0.001)
    return told


@pytest.mark.parametrize("ranges", [True, False], ids=["server with ranges", "server without ranges"])
def test_a_file_arrives_whole_over_any_number_of_cuts(server, tmp_path, ranges):
    Server.cuts, Server.ranges = [700_000, 1, 300_000] if ranges else [700_000, 1, 0], ranges
    told = get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert told[-1] == (len(BODY), len(BODY))
    assert Server.asked[1] == "bytes=700000-"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_killed_call_is_continued_by_the_next(server, tmp_path):
    class KilledError(BaseException):
        pass

    def die(done, total):
        if done > 400_000:
            raise KilledError

    with pytest.raises(KilledError):
        fetch(server, str(tmp_path / "f"), SHA, "v", die)
    get(server, tmp_path / "f")
    assert Server.asked[-1].startswith("bytes=")
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_whole_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "f").write_bytes(BODY)
    get(server, tmp_path / "f")
    assert Server.asked == []


def test_a_part_that_is_complete_is_taken_as_it_is(server, tmp_path):
    (tmp_path / f"f.{SHA[:8]}.part").write_bytes(BODY)
    get(server, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY


def test_another_file_than_meant_is_refused_and_not_kept(server, tmp_path):
    with pytest.raises(FleetError) as caught:
        get(server, tmp_path / "f", sha256="0" * 64)
    assert (caught.value.variable, SHA in caught.value.found) == ("the_variable", True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 5)], ids=["gone", "forbidden", "out of order"])
def test_a_server_that_refuses_is_asked_once_and_one_in_trouble_five_times(server, tmp_path, status, asked):
    Server.status = status
    with pytest.raises(FleetError) as caught:
        get(server, tmp_path / "f")
    assert str(status) in caught.value.found
    assert len(Server.asked) == asked
