"""Logins and tokens reach a server, and no argument, no other server, and no text shows them."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from netrc import netrc
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import masking
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.plan import settings as core
from ansible_collections.canvas.fleet.plugins.module_utils.system import credentials, http, programs
from ansible_collections.canvas.fleet.plugins.module_utils.system.git import Git
from ansible_collections.canvas.fleet.plugins.plugin_utils.jobs import JOBS, logins, spec_of
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

PASSWORD, TOKEN = "pass:wörd/@1", "tk-1234567890"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_known", {})
    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(masking, "_grams", set())


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Wants a login and refuses all; or sends elsewhere. `asked`: each Authorization."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            away = self.path == "/away"
            self.send_response(302 if away else 200 if self.path == "/open" else 401)
            self.send_header("Location", f"http://localhost:{self.server.server_port}/open")  # type: ignore[attr-defined]
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()


def basic(login: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


def test_git_gives_the_login_to_who_asks_for_it_and_in_no_argument(
    server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, asked = server
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    started: list[Any] = []
    start = programs.start
    monkeypatch.setattr(programs, "start", lambda *argv, **how: (started.append(argv), start(*argv, **how))[1])
    credentials.use({host: f"me:{PASSWORD}"})
    with pytest.raises(FleetError) as error:
        Git(str(tmp_path))("ls-remote", f"http://{host}/x.git")
    assert asked == ["", basic("me", PASSWORD)]
    assert PASSWORD not in str(started)
    assert PASSWORD not in str(error.value)
    assert masking.masked(f"{PASSWORD} {basic('me', PASSWORD)}") == "******** Basic ********"


def test_git_sends_a_token_as_a_password(server: tuple[str, list[str]], tmp_path: Path) -> None:
    host, asked = server
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    credentials.use({host.partition(":")[0]: "x", host: TOKEN})
    assert not Git(str(tmp_path)).answers("ls-remote", f"http://{host}/x.git")
    assert asked[-1] == basic("token", TOKEN)


@pytest.mark.parametrize(("given", "sent"), [(f"me:{PASSWORD}", basic("me", PASSWORD)), (TOKEN, f"Bearer {TOKEN}")])
def test_a_download_is_authorized_where_it_was_asked_for_and_not_where_it_is_sent(
    server: tuple[str, list[str]], given: str, sent: str
) -> None:
    host, asked = server
    credentials.use({host: given})
    http.read(f"http://{host}/away", limit=10)
    http.read(f"http://localhost:{host.partition(':')[2]}/open", limit=10)
    assert asked == [sent, "", ""]


def test_pip_and_conda_find_theirs_in_files_that_nobody_else_reads(tmp_path: Path) -> None:
    credentials.use({"pypi.example.org": "me:secret-1", "conda.example.org:8443": TOKEN})
    found = credentials.for_programs(str(tmp_path))
    hosts = netrc(found["NETRC"]).hosts
    assert hosts["pypi.example.org"][::2] == ("me", "secret-1")
    assert hosts["conda.example.org"][::2] == ("token", TOKEN)
    token = tmp_path / "data" / "https%3A%2F%2Fconda.example.org%3A8443.token"  # as conda reads it
    assert (found["BINSTAR_CONFIG_DIR"], token.read_text()) == (str(tmp_path), TOKEN)
    assert [path.stat().st_mode & 0o077 for path in (token, tmp_path / "netrc", tmp_path / "data")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("proxy", "with_login"),
    [
        ("http://proxy.example.org:3128", "http://me:p%40ss@proxy.example.org:3128"),
        ("proxy.example.org:3128/", "http://me:p%40ss@proxy.example.org:3128/"),
        ("http://other.example.org:3128", "http://other.example.org:3128"),
        ("http://proxy.example.org:80", "http://proxy.example.org:80"),
    ],
)
def test_a_proxy_gets_its_login_on_the_host(proxy: str, with_login: str) -> None:
    credentials.use({"proxy.example.org:3128": "me:p@ss"})
    given = {"HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "a", "OTHER": proxy}
    assert credentials.with_logins(given) == {**given, "HTTPS_PROXY": with_login, "https_proxy": with_login}


def test_git_goes_through_the_hosts_proxy_with_its_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example.org:3128")
    credentials.use({"proxy.example.org:3128": "me:p@ss"})
    assert Git(str(tmp_path))._env()["https_proxy"] == "http://me:p%40ss@proxy.example.org:3128"


def test_without_credentials_nothing_is_added(tmp_path: Path) -> None:
    assert credentials.for_git() == ([], {})
    assert credentials.for_programs(str(tmp_path)) == {}
    assert (credentials.header("https://x"), list(tmp_path.iterdir())) == ("", [])


@pytest.mark.parametrize("worker", ["fleet_agent", "conda_env", "dataset"])
def test_a_worker_that_fetches_is_given_them_apart_from_its_record(worker: str) -> None:
    assert "fleet_credentials" in JOBS[worker].secrets
    assert "fleet_credentials" not in spec_of(JOBS[worker], Settings())


URLS = {
    "fleet_pip_index_url": "https://pypi.example.org/simple",
    "dataset_train": "https://data.example.org:8443/a.parquet",
    "dataset_environment": {"https_proxy": "proxy.example.org:3128"},
    "canvas_code_repo": "https://git.example.org/code.git",
}
SERVERS = ("pypi.example.org", "data.example.org", "proxy.example.org:3128", "git.example.org", "files.example.org")


@pytest.mark.parametrize(
    ("own", "servers"),
    [
        pytest.param(URLS["fleet_pip_index_url"], ["pypi.example.org"], id="the server of a URL"),
        pytest.param(
            [URLS["dataset_train"], URLS["dataset_environment"]],
            ["data.example.org", "proxy.example.org:3128"],
            id="with a port, and a proxy",
        ),
        pytest.param("https://my-git.example.org/ https://git.example.org.evil.net", [], id="a name within another"),
        pytest.param("ssh://me@git.example.org/code.git", ["git.example.org"], id="behind a login"),
        pytest.param({"a": ["x\npypi.example.org/simple"]}, ["pypi.example.org"], id="on a line of its own"),
        pytest.param("https://GIT.Example.org/code.git", ["git.example.org"], id="in another case"),
        pytest.param("https://git.example.org./code.git", ["git.example.org"], id="with a dot at its end"),
        pytest.param("https://proxy.example.org/", ["proxy.example.org:3128"], id="with another port"),
    ],
)
def test_a_work_gets_the_logins_of_the_servers_that_it_names(own: Any, servers: list[str]) -> None:
    """And those that no setting names: an index may refer to them."""
    given = logins(dict.fromkeys(SERVERS, "me:pass-word"), own, URLS)
    assert [*given] == [*servers, "files.example.org"]


@pytest.mark.parametrize(
    ("key", "named"),
    [
        pytest.param("git.example.org", "https://Git.Example.org/a", id="in another case"),
        pytest.param("git.example.org", "https://git.example.org./a", id="with a dot at the end"),
        pytest.param("git.example.org.", "https://git.example.org/a", id="without the dot at the end"),
        pytest.param("git.example.org:443", "https://git.example.org/a", id="without its port"),
        pytest.param("git.example.org.:443", "https://git.example.org:8443/a", id="with another port"),
        pytest.param("[2001:db8::1]:443", "https://[2001:db8::1]/a", id="an address"),
    ],
)
def test_the_login_of_a_server_that_another_work_names_is_not_ours(key: str, named: str) -> None:
    assert logins({key: "me:pass-word"}, "", {"canvas_code_repo": named}) == {}
    assert logins({key: "me:pass-word"}, named, {"canvas_code_repo": named}) == {key: "me:pass-word"}


@pytest.mark.parametrize("key", ["git.example.org", "git.example.org.", "GIT.example.org"])
@pytest.mark.parametrize(
    "url", ["https://git.example.org/a", "https://git.example.org.:8443/a", "https://Git.Example.org."]
)
def test_a_server_is_known_in_each_way_of_writing_its_name(key: str, url: str) -> None:
    credentials.use({key: "me:pass-word"})
    assert credentials.login(url) == ("me", "pass-word")
    assert credentials.login("https://git.example.org.evil.net/") is None


class Settings(dict[str, Any]):
    """Any setting, among them a secret."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(load_specs().options, ""))


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"git.example.org": "me:w4711\n", "proxy:3128": "a:b", "[::1]:80": "t0ken"}, True),
        ({}, True),
        ({"https://git.example.org/x": "me:word-4711"}, False),
        ({"git.example.org": "me word-4711"}, False),
        ({"git.example.org": ["word-4711"]}, False),
        ({"git.example.org": ""}, False),
        ("word-4711", False),
    ],
)
def test_their_form_is_checked_and_never_shown(value: Any, fits: bool) -> None:
    settings, findings = core.resolve(load_specs().options, {"fleet_credentials": value})
    assert [one.code for one in findings] == ([] if fits else ["VARIABLE_INVALID"])
    assert "4711" not in repr((settings, findings))
