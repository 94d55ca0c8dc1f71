import hashlib
import http.server
import subprocess
import threading
from urllib.parse import urlsplit

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils import dataset_fetch
from ansible_collections.canvas.fleet.plugins.module_utils.dataset_fetch import fetch_git, fetch_url, public
from ansible_collections.canvas.fleet.plugins.module_utils.errors import FleetError

BODY = bytes(range(256)) * 4096  # 1 MiB


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `body`; `cuts` says after how many bytes the next answers break off, `failures` which codes come first."""

    body, cuts, failures, asked, ranges = BODY, [], [], [], True

    def do_GET(self):
        cls = type(self)
        cls.asked.append(self.headers.get("Range", ""))
        if cls.failures:
            self.send_error(cls.failures.pop(0))
            return
        mark = f'"{hashlib.sha256(cls.body).hexdigest()[:8]}"'
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
    Server.body, Server.cuts, Server.failures, Server.asked, Server.ranges = BODY, [], [], [], True
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


def git(folder, *argv):
    names = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *names, *argv], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "data").mkdir()
    commits = []
    for number in range(2):
        (folder / "data" / "train.parquet").write_bytes(BODY[number:])
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"number {number}")
        commits.append(git(folder, "rev-parse", "HEAD"))
    return folder, commits


@pytest.mark.parametrize("allowed", [True, False], ids=["single commits are given", "branches only are given"])
def test_an_older_commit_comes_out_of_the_repository(tmp_path, repository, allowed):
    folder, commits = repository
    git(folder, "config", "uploadpack.allowFilter", str(allowed).lower())
    git(folder, "config", "uploadpack.allowAnySHA1InWant", str(allowed).lower())
    for number, commit in enumerate(commits):
        fetch_git(f"file://{folder}", commit, "data/train.parquet", tmp_path / "p", tmp_path / "cache.git", quiet)
        assert (tmp_path / "p").read_bytes() == BODY[number:]


def test_a_branch_name_is_looked_up_anew(tmp_path, repository):
    folder, _ = repository
    url, cache = f"file://{folder}", tmp_path / "cache.git"
    fetch_git(url, "main", "data/train.parquet", tmp_path / "p", cache, quiet)
    (folder / "data" / "train.parquet").write_bytes(b"newer")
    git(folder, "commit", "--quiet", "-am", "newer")
    fetch_git(url, "main", "data/train.parquet", tmp_path / "p", cache, quiet)
    assert (tmp_path / "p").read_bytes() == b"newer"


@pytest.mark.parametrize(
    ("commit", "inside", "variable"),
    [
        pytest.param("f" * 40, "data/train.parquet", "dataset_commit", id="a commit that is not there"),
        pytest.param("", "data/none.parquet", "dataset_train or dataset_test", id="a file that is not in the commit"),
    ],
)
def test_git_refuses(tmp_path, repository, commit, inside, variable):
    folder, commits = repository
    with pytest.raises(FleetError) as told:
        fetch_git(f"file://{folder}", commit or commits[0], inside, tmp_path / "p", tmp_path / "cache.git", quiet)
    assert told.value.variable == variable


def test_a_repository_that_is_not_there(tmp_path):
    with pytest.raises(FleetError, match="cannot be fetched") as told:
        fetch_git(f"file://{tmp_path}/none", "a" * 40, "x", tmp_path / "p", tmp_path / "cache.git", quiet)
    assert "none" in str(told.value)


def test_a_pointer_of_git_lfs_is_no_file(tmp_path, repository):
    folder, _ = repository
    (folder / "data" / "train.parquet").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    git(folder, "commit", "--quiet", "-am", "lfs")
    with pytest.raises(FleetError, match="Git LFS pointer"):
        fetch_git(f"file://{folder}", "main", "data/train.parquet", tmp_path / "p", tmp_path / "cache.git", quiet)
