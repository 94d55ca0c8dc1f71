"""Secrets in the inventory: cleaned in one place, shown nowhere, and found where they do not belong."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core import masking
from ansible_collections.canvas.fleet.plugins.module_utils.plan import settings as core
from ansible_collections.canvas.fleet.plugins.plugin_utils.role_action import load_specs

from tests.unit.support.places import ROOT

OPTIONS, DEFAULTS = load_specs()
WORD = "S3cret-Word"
HEX = "0123456789abcdef0123456789abcdef01234567"
WRONG = {
    "a token before the host": f"https://{WORD}@host.example.org/x",
    "a login": f"https://me:{WORD}@host.example.org/x",
    "a login of a proxy": f"me:{WORD}@proxy.example.org:3128",
    "a login of ssh": f"ssh://git:{WORD}@host.example.org/x",
    "a channel's token": f"https://conda.example.org/t/tk-{WORD}/main",
    "a query": f"https://host.example.org/x?token={WORD}",
    "a signed address": f"https://host.example.org/x?X-Amz-Signature={WORD}",
    "W&B's key": HEX,
    "W&B's newer key": "wandb_v1_" + "a1_B" * 10,
    "a key of the hub": "hf_" + "aB3" * 10,
    "a key of GitHub": "ghp_" + "a1" * 18,
    "a key of GitLab": "glpat-" + "a1B-" * 5,
    "a key of AWS": "AKIA" + "Q2" * 8,
    "an assignment": f"WANDB_API_KEY={WORD}",
    "a private key": "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----",
}


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(masking, "_grams", set())


def told(name: str, value: Any) -> str:
    """All that is said of a value, and the settings; it has to be refused as a secret."""
    settings, findings = core.resolve(OPTIONS, {name: value})
    assert [(one.code, one.variable) for one in findings] == [("SECRET_MISPLACED", name)]
    return repr((settings, findings))


OPEN = [name for name, option in OPTIONS.items() if not option.secret]
TEXTS = [name for name in OPEN if OPTIONS[name].kind in ("str", "path", "list of str", "list of path")]


@pytest.mark.parametrize("kind", WRONG)
def test_a_secret_in_a_variable_that_takes_a_text_is_refused_and_not_shown(kind: str) -> None:
    value = WRONG[kind]
    for name in TEXTS:
        if value == HEX and name in core.rules.COMMITS:
            continue  # a commit has 40 digits, too
        for given in [value] if "list" in OPTIONS[name].kind else (value, [value]):
            said = told(name, given)
            assert WORD not in said, name
            assert value not in said, name


@pytest.mark.parametrize("name", [name for name in OPEN if OPTIONS[name].kind == "dict"])
@pytest.mark.parametrize("key", ["HF_TOKEN", "GITHUB_PAT", "DB_PASS", "MY_PASSWORD", "AWS_CREDENTIALS", "HTTP_AUTH",
                                 "apiKey", "WANDBKEY", "client_secret"])  # fmt: skip
def test_a_mapping_holds_no_secret_under_a_name_of_one(name: str, key: str) -> None:
    assert WORD not in told(name, {"A": "1", key: WORD})


@pytest.mark.parametrize("kind", WRONG)
def test_nor_in_a_mapping_whatever_the_name_nor_as_a_name(kind: str) -> None:
    assert WORD not in told("run_config_env", {"NCCL_X": WRONG[kind]})
    assert WORD not in told("run_config_env", {"A": {"B": [WRONG[kind]]}})
    assert WRONG[kind] not in told("run_config_env", {WRONG[kind]: "1"})


@pytest.mark.parametrize(
    "value",
    [
        {"TOKENIZERS_PARALLELISM": "false", "KEYBOARD": "us", "MAX_NUM_TOKENS": "8192", "NCCL_SOCKET_IFNAME": "eth1"},
        {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1", "SSH_AUTH_SOCK": "/run/agent", "SSL_CERT_FILE": "/etc/ca.pem"},
        {"https_proxy": "http://proxy.example.org:3128", "no_proxy": "localhost,.example.org,10.0.0.0/8"},
    ],
)
def test_an_environment_without_secrets_may_stand(value: dict[str, str]) -> None:
    assert core.resolve(OPTIONS, {"run_config_env": value})[1] == []


def test_no_default_and_no_variable_of_an_example_looks_like_a_secret() -> None:
    for name in OPEN:
        assert core.rules.misplaced_secret(name, DEFAULTS.get(name)) is None, name
    for lock in (ROOT / "roles/conda_env/files/locks").rglob("*"):
        if lock.is_file():
            found = core.rules.misplaced_secret("conda_env_pip_lock", lock.read_text().splitlines())
            assert found is None, lock


@pytest.mark.parametrize("odd", ["\x1b[2J", "\x9b1m", "\u202e", "\u200b", "\u2028", "a\nb", "\x7f", "\ufeff"])
def test_a_value_holds_no_character_that_nobody_sees(odd: str) -> None:
    for name, value in (("run_config_wandb_name", f"x{odd}y"), ("run_config_env", {"A": f"x{odd}y"}),
                        ("weights_files", [f"x{odd}y"])):  # fmt: skip
        found = core.resolve(OPTIONS, {name: value})[1][0]
        assert (found.code, found.variable) == ("VARIABLE_INVALID", name)


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {} ", "\ufeff{}", "{}\t\n\n", "\u200b{}"])
def test_what_comes_along_with_a_secret_changes_nothing(around: str) -> None:
    for name in ("weights_token", "run_config_wandb_api_key"):
        given = around.format(WORD)
        assert core.resolve(OPTIONS, {name: given}) == ({name: core.digest_of(WORD)}, [])
        assert core.cleaned(given) == WORD


@pytest.mark.parametrize("value", [f"{WORD} {WORD}", f"{WORD}\n{WORD}\n", [WORD], {"a": WORD}, True, f"{WORD}\x1b[2J"])
def test_a_secret_of_another_form_is_refused_and_not_shown(value: Any) -> None:
    settings, findings = core.resolve(OPTIONS, {"weights_token": value})
    assert [one.code for one in findings] == ["VARIABLE_INVALID"]
    assert WORD not in repr((settings, findings))


@pytest.mark.parametrize("one", [1, True, None, "", [WORD], {"a": WORD}, f"{WORD} {WORD}"])
def test_a_login_for_a_server_is_one_word(one: Any) -> None:
    findings = core.resolve(OPTIONS, {"fleet_credentials": {"git.example.org": one}})[1]
    assert [found.variable for found in findings] == ["fleet_credentials"]


def test_a_secret_that_another_variable_repeats_is_refused_there() -> None:
    given = {"weights_token": f"{WORD}\n", "run_config_env": {"FOO": f"x{WORD}"}, "fleet_root": "/srv"}
    settings, findings = core.resolve(OPTIONS, given)
    assert [(one.code, one.variable) for one in findings] == [("SECRET_MISPLACED", "run_config_env")]
    assert WORD not in repr((settings, findings))


def test_a_secret_is_read_in_one_place() -> None:
    """What is not cleaned by `cleaned` would be sent to a host with its newline."""
    for path in (ROOT / "plugins").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and node.attr == "clean"
                and path.name not in ("settings.py", "rules.py")
            ):
                raise AssertionError(f"{path}: secrets are cleaned by plan/settings.py")
