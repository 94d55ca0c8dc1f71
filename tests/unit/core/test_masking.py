"""Texts in which no secret can be read, and names and values that are secrets."""

from __future__ import annotations

import base64
import time
from urllib.parse import quote

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import masking
from ansible_collections.canvas.fleet.plugins.module_utils.core.masking import MASK, clean, masked, names_secret
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.flags import KNOWN

W = "S3cret-Word"  # stands for a secret that has no form of its own
HEX = "0123456789abcdef0123456789abcdef01234567"
COMMIT = "cc48f16eabcc30baac600a7148606a7fa2026269"
HOLDERS = """
PAT GITHUB_PAT PASS DB_PASS DBPASS PASSWORD db_password PASSWD CREDENTIALS AWS_CREDENTIAL AUTH HTTP_AUTH OAUTH KEY
WANDB_API_KEY WANDBAPIKEY apiKey wandb-key AWS_SECRET_ACCESS_KEY TOKEN HF_TOKEN HFTOKEN accessToken SECRET
client_secret AUTHORIZATION API_KEYS MY_PWD SSH_PASSPHRASE
"""
OTHER_NAMES = """
KeyError AuthError TokenException
KEYBOARD TOKENIZERS_PARALLELISM max_num_tokens PATH PYTHONPATH AUTHOR BYPASS COMPASS MONKEY PWD OLDPWD PATTERN
PASSENGER NCCL_SOCKET_IFNAME TOKENIZER
"""
KEYS = (
    HEX, HEX.upper(), "hf_" + "aB3" * 10, "ghp_" + "a1" * 18, "github_pat_" + "a1_" * 20, "glpat-" + "a1B-" * 5,
    "AKIA" + "Q2" * 8, "wandb_v1_" + "a1_B" * 10, "local-" + HEX, "sk-" + "a1" * 15, "pypi-" + "Ag" * 20,
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0", "tk-1234abcd-12ab-34cd-56ef", "dckr_pat_" + "a1" * 12,
)  # fmt: skip


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another test made known."""
    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(masking, "_grams", set())


@pytest.mark.parametrize("name", HOLDERS.split())
def test_names_of_secrets(name: str) -> None:
    assert names_secret(name)
    assert masking.holds_secret(name, W)
    assert W not in masked(f"export {name}={W}")


@pytest.mark.parametrize("name", [*OTHER_NAMES.split(), *sorted(KNOWN)])
def test_names_that_only_sound_like_it(name: str) -> None:
    assert not names_secret(name)
    assert masked(f"export {name}={W}") == f"export {name}={W}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
        ("SSH_AUTH_SOCK", "/run/agent.sock"),
        ("SSL_KEY_FILE", "/etc/x.pem"),
        ("WANDB_API_KEY", "$WANDB_API_KEY"),
        ("WANDB_API_KEY", "${WANDB_API_KEY}"),
        ("WANDB_API_KEY", '"$(cat "$key_file")"'),
        ("USE_AUTH", "false"),
        ("TOKEN", ""),
    ],
)
def test_a_switch_a_path_and_a_reference_hold_no_secret(name: str, value: str) -> None:
    assert masked(f"export {name}={value}") == f"export {name}={value}"


# Each line holds the secret once, in a form of its own, and says after the arrow what must be seen of it all the same.
LINES = [
    f'export WANDB_API_KEY="{W}"  -> export WANDB_API_KEY="{MASK}"',
    f"WANDB_API_KEY='{W}' torchrun  -> torchrun",
    f"set -x; A=1 HF_TOKEN={W} B=2  -> B=2",
    f'Environment="HF_TOKEN={W}" X=1  -> Environment=',
    f"#SBATCH --export=HF_TOKEN={W}  -> #SBATCH --export=HF_TOKEN=",
    f"password: {W} and more  -> password: {MASK}",
    f'"token": "{W}", "x": 1  -> "x": 1',
    f"{{'api_key': '{W}'}}  -> api_key",
    f"password = {W}  -> password =",
    f'os.environ["WANDB_API_KEY"] = "{W}"  -> os.environ["WANDB_API_KEY"] =',
    f'os.environ.setdefault("WANDB_API_KEY", "{W}")  -> setdefault("WANDB_API_KEY",',
    f'wandb.login(key="{W}")  -> wandb.login(key=',
    f"hf auth login --token {W} --x  -> hf auth login --token {MASK} --x",
    f"train --wandb-api-key={W} --lr 1  -> --lr 1",
    f"export HF_TOKEN=${{HF_TOKEN:-{W}}}  -> export HF_TOKEN=",
    f"https://{W}@host.example.org/x  -> @host.example.org/x",
    f"https://me:{W}@host/x  -> @host/x",
    f"http://me:p@{W}@host:3128/  -> @host:3128/",
    f"http://me:p/{W}@host:3128/  -> @host:3128/",
    f"git+https://{W}@host/x  -> @host/x",
    f"ssh://git:{W}@host/x  -> ssh://git:",
    f"ssh://git:a/{W}@host/x  -> ssh://git:",
    f"git://me:{W}@host/x  -> git://me:",
    f"wandb login {W}  -> wandb login",
    f"wandb login --relogin {W} && x  -> && x",
    f"proxy me:{W}@proxy:3128  -> @proxy:3128",
    f"https://conda.example.org/t/{W}/main  -> /main",
    f"https://conda.example.org/conda/t/{W}/main/linux-64  -> /main/linux-64",
    f"-c t/tk-{W}/main  -> /main",
    f"https://host/x?token={W}&y=1  -> https://host/x?token=",
    f"https://host/x?a=1&X-Amz-Signature={W}  -> https://host/x?a=1",
    f"https://host/x?sig={W}  -> https://host/x",
    f"Authorization: Bearer {W}12  -> Authorization",
    f'curl -H "X: Basic {W}12=="  -> curl',
    f"curl -u me:{W} http://x  -> http://x",
    f"machine host login me password {W}  -> machine host login me password",
]


@pytest.mark.parametrize("line", LINES)
def test_a_secret_in_a_line_is_hidden_and_the_rest_is_read(line: str) -> None:
    text, _, seen = line.partition("  -> ")
    assert W in text
    assert W not in masked(text)
    assert seen in masked(text)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "wandb login {}", "x='{}'", "({})", "found: {}; expected"])
def test_keys_that_are_known_by_their_form(key: str, around: str) -> None:
    assert key not in masked(around.format(key))
    assert masking.holds_secret("", key)


@pytest.mark.parametrize(
    "text",
    [
        f"# For BAGEL-Canvas at {COMMIT}",
        f"commit {COMMIT}",
        f"https://github.com/x/y/archive/{COMMIT}.tar.gz",
        f"git+https://github.com/x/y@{COMMIT}",
        "git@github.com:me/x.git",
        "ssh://git@github.com/me/x.git",
        "https://host:8080/simple/@scope/x",
        'huggingface_hub==2.4.0; python_version >= "3.10"',
        "--max_num_tokens 8192 --expected_num_tokens=8192",
        "for key, value in pairs:",
        "key = place.partition(':')[0]",
        "sha256:" + "ab" * 32,
        "the key of the host is another one",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f'export KEY="abc\n{W}\ndef"\nexport A=1',
        f"export KEY=abc\\\n{W}\nexport A=1",
        f"key: |\n  abc\n\n  {W}\nA: 1",
        f"-----BEGIN RSA PRIVATE KEY-----\n{W}\n-----END RSA PRIVATE KEY-----\nA=1",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{W}",
    ],
)
def test_a_secret_of_several_lines_is_hidden_whole_and_no_line_is_lost(text: str) -> None:
    seen = masked(text)
    assert W not in seen
    assert seen.count("\n") == text.count("\n")
    assert seen.splitlines()[-1] == text.splitlines()[-1] or W in text.splitlines()[-1]


@pytest.mark.parametrize("spelled", [str, lambda one: quote(one, safe=""), lambda one: repr(one)[1:-1]])
def test_a_secret_that_was_given_is_hidden_in_every_text_and_part_by_part(spelled: object) -> None:
    given = "wörd & 12/34+56"
    masking.remember(f" {given}\r\n")
    told = f"header b'{spelled(given)}' is not allowed"  # type: ignore[operator]
    assert masked(told) == f"header b'{MASK}' is not allowed"


def test_the_parts_of_a_secret_that_an_error_cut_off_are_hidden_too() -> None:
    masking.remember("abcdefghijklmnopqrst")
    assert masked("cut: abcdefghijk… and …lmnopqrst") == f"cut: {MASK}… and …{MASK}"
    encoded = base64.b64encode(b"me:abcdefghijklmnopqrst").decode()
    assert encoded not in masked(f"Basic {encoded}")


def test_of_a_login_the_password_is_a_secret_and_the_name_is_none() -> None:
    masking.remember({"git.example.org": "training-account:pass-word-1"})
    assert masked("training-account has no right; pass-word-1") == f"training-account has no right; {MASK}"


@pytest.mark.parametrize("given", ["word\n", "\r\nword\r\n", "  word ", "\ufeffword\u200b", "\0word\t", "word"])
def test_what_comes_along_with_a_secret_is_taken_off(given: str) -> None:
    assert clean(given) == "word"
    assert clean(None) == ""


PIECES = (
    "://",
    "a=b ",
    "key",
    '"',
    "a:",
    'key="',
    "user:",
    "?a=",
    "-u ",
    "login x",
    "://u:",
    "a-",
    "gl-",
    "eyJ-",
    "://@",
)


@pytest.mark.parametrize("piece", [*PIECES, pytest.param(" -u" + 3_990 * "=", id="-u====")])
def test_a_hostile_text_costs_no_time(piece: str) -> None:
    begun = time.process_time()
    masked((piece * 30_000)[:60_000])
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("far", ["commit " + 40 * " ", "commit " + 80 * " "])
def test_only_what_stands_near_makes_40_digits_a_commit(far: str) -> None:
    assert (HEX in masked(far + HEX)) == (len(far) < 64)


@pytest.mark.parametrize("before", ["x-", "8-", "--", "---", " --x-", ",-", "é-"])
def test_a_name_behind_dashes_is_read_whole(before: str) -> None:
    assert W not in masked(f"{before}token={W}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        pytest.param("https://me:pw@host/a.parquet?sig=1", "https://host/a.parquet", id="login and query"),
        pytest.param("https://me:p/w@host/a#frag", "https://host/a", id="a password with a slash"),
        pytest.param("https://me@mail:p@w@host/a", "https://host/a", id="more than one @"),
        pytest.param("https://me@mail.org:p/w@host/a", "https://host/a", id="a login with @, a password with a slash"),
        pytest.param("https://me:p/w@x@host/a", "https://host/a", id="a password with a slash and an @"),
        pytest.param("https://me:pw@host:8443/a@b", "https://host:8443/a@b", id="a port behind a login"),
        pytest.param("git+ssh://git@host:me/repo@v1", "git+ssh://host:me/repo@v1", id="a place of git that pip reads"),
        pytest.param("https://tok@host", "https://host", id="a token alone"),
        pytest.param("https://host:8443/a", "https://host:8443/a", id="a port is kept"),
        pytest.param("https://host:8443/a@b", "https://host:8443/a@b", id="an @ in the path"),
        pytest.param("ssh://git@host/me/repo.git", "ssh://host/me/repo.git", id="the user of ssh"),
        pytest.param("git@host:me/repo.git", "git@host:me/repo.git", id="git's own form"),
    ],
)
def test_what_is_printed_of_a_url(url: str, shown: str) -> None:
    assert masking.public(url) == shown


@pytest.mark.parametrize("login", ["me@mail.org:s3c/ret", "me:s3c/ret", "me:ret/x@ret"])
def test_a_password_with_a_slash_is_hidden_whole(login: str) -> None:
    assert "ret" not in masked(f"fatal: https://{login}@host.org/p")


def test_a_text_keeps_all_but_the_logins_of_its_urls() -> None:
    words = "fatal: https://me:s3c/ret@git.example.org/x?a=1 not found // a@b"
    assert masking.without_logins(words) == "fatal: https://git.example.org/x?a=1 not found // a@b"
