"""Rules for values beyond their type: ranges, forms, full paths, and no secret in the wrong place.

One table for the variables of all roles; `together.py` has rules about two of them. Roles judge what needs the host,
the data or the run.
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core import masking, shown
from ..core.printable import is_utf8
from ..findings import of_reach
from ..findings.finding import CATALOGUE, Finding, finding
from ..roles.fleet_agent.decide import ROOT_LIKE


@dataclass(frozen=True)
class Rule:
    """The expected form in words, and a test of a value of the right type."""

    expected: str
    fits: Callable[[Any], bool]


def span(low: float, high: float, *, above: bool = False) -> Rule:
    """A number from low to high; `above`: not low itself. Nothing else than a number fits, nan neither."""
    text = f"more than {low:g}, at most {high:g}" if above else f"{low:g} to {high:,.0f}"
    return Rule(text, lambda value: low <= value <= high and not (above and value == low))


def form(pattern: str, expected: str) -> Rule:
    compiled = re.compile(pattern)
    return Rule(expected, lambda value: bool(compiled.fullmatch(str(value))))


def or_off(rule: Rule) -> Rule:
    """A number, of which 0 switches off what it is for."""
    return Rule(f"0, or {rule.expected}", lambda value: value == 0 or rule.fits(value))


def optional(rule: Rule) -> Rule:
    return Rule(f"{rule.expected}, or empty", lambda value: value == "" or rule.fits(value))


TEXT = 4096  # letters, as many as a path may have
PLAIN = (str, int, float, datetime.date)  # bool is an int, a moment is a date
COUNT = span(1, 10**15)
STEPS = span(1, 10**9)
TOKENS = span(1, 10**7)
SHARE = span(0, 1)
FULL_PATH = Rule(
    "a full path on the host without .., such as /srv/blockmoving/x (~ is not expanded there)",
    lambda value: str(value).startswith("/") and str(value).strip("/.") != "" and ".." not in str(value).split("/"),
)
SHA256 = optional(form(r"[0-9a-fA-F]{64}", "64 hex digits (sha256)"))
URL = form(r"(https?|file)://[^\s/]*/?\S*", "a URL, https://…")
PLACE = optional(form(r"(https?|file)://\S+|/\S+", "a URL or a full path"))
GIT = form(r"(https?|git|ssh|file)://\S+|[\w.-]+@[\w.-]+:\S+|/\S+", "the URL of a git repository")
REF = form(r"(?!-)[^\s~^:?*\[\\]+", "a commit id (40 hex digits), a tag or a branch")
ACCOUNT = form(
    r"(?!(root|toor|nobody)$)[a-z_][a-z0-9_-]{0,31}", "an account's name, not root's: small letters, digits, - and _"
)
GROUP = form(rf"(?!({'|'.join(ROOT_LIKE)})$)[a-z_][a-z0-9_-]{{0,31}}", "a group whose members are not as good as root")
FILE_WORD = form(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", "letters, digits, and _ . - after the first")
WORD = form(r"[A-Za-z_][A-Za-z0-9_-]*", "one word of letters, digits, _ and -")
HOST = form(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*",
    "a host name or an address without a zone (%eth0)",
)
NO_SPACE = Rule("a path without spaces (conda takes none)", lambda value: not re.search(r"\s", str(value)))
REQUIREMENT = form(r"[A-Za-z0-9][^\s;]*(\s*[<>=!~]=?\s*[^\s;]+)?(\s*;.+)?|https?://\S+", "a package, name==version")

FOLDER = form(r"[^\s\x00-\x1f]([^\x00-\x1f]*[^\s\x00-\x1f])?", "a folder of the controller")

RULES: dict[str, Rule] = {
    "fleet_user": ACCOUNT,
    "fleet_group": GROUP,
    "fleet_readers": form(r"@login|[A-Za-z_][A-Za-z0-9_.@-]{0,63}", "names of accounts, or @login"),
    "fleet_reconnect_timeout": span(1, 86_400),
    "fleet_work_timeout": span(60, 2_592_000),
    "fleet_download_rate": span(0, 10**6),
    "fleet_disk_rate": span(0, 10**6),
    "fleet_address": HOST,
    "fleet_pip_index_url": optional(URL),
    "fleet_pip_find_links": PLACE,
    "nvidia_driver_branch": form(r"[4-9]\d\d", "a driver branch, such as 580"),
    "nvidia_cuda_version": form(r"1[1-9]\.\d", "a CUDA version, such as 12.8"),
    "nvidia_cuda_home": FULL_PATH,
    "nvidia_busy_ignore_below": optional(FULL_PATH),
    "nvidia_reboot_timeout": span(1, 86_400),
    "nvidia_repository_url": URL,
    "nvidia_repository_key_url": optional(URL),
    "nvidia_repository_fingerprint": optional(form(r"[0-9A-Fa-f ]{40,50}", "40 hex digits")),
    "conda_env_wheelhouse": optional(form(r"[/~].*", "a full path on the controller")),
    "conda_env_flash_attn_sha256": SHA256,
    "conda_env_root": NO_SPACE,
    "conda_env_prefix": NO_SPACE,
    "conda_env_name": FILE_WORD,
    "conda_env_python": form(r"3\.(9|1[0-9])(\.\d+)?", 'a Python version in quotes, such as "3.10"'),
    "conda_env_installer_url": URL,
    "conda_env_installer_sha256": SHA256,
    "conda_env_channels": form(r"\S+", "names or URLs of channels"),
    "conda_env_conda_packages": form(r"[A-Za-z0-9_][^\s]*", "packages, name=version"),
    "conda_env_pip_packages": REQUIREMENT,
    "conda_env_pip_index_url": optional(URL),
    "conda_env_pip_extra_index_urls": URL,
    "conda_env_flash_attn": optional(form(r"\d+(\.\w+)+", "a version, such as 2.8.2")),
    "conda_env_flash_attn_releases": URL,
    "conda_env_imports": form(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "names that Python can import"),
    "fleet_agent_packages": REQUIREMENT,
    "fleet_agent_apt_packages": form(r"[a-z0-9][a-z0-9+.:-]+", "names of packages"),
    "fleet_agent_dnf_packages": form(r"[A-Za-z0-9][\w+.:-]+", "names of packages"),
    "canvas_code_repo": GIT,
    "canvas_code_commit": REF,
    "dataset_repo": optional(GIT),
    "dataset_commit": optional(REF),
    "dataset_name": WORD,
    "dataset_group": WORD,
    "dataset_train_sha256": SHA256,
    "dataset_test_sha256": SHA256,
    "weights_repo": form(r"[\w.-]+/[\w.-]+", "owner/name of a repository of the hub"),
    "weights_revision": REF,
    "weights_endpoint": URL,
    "weights_files": form(r"(?!/)(?!.*\.\.)\S.*", "names of files in the repository"),
    "weights_stall_timeout": span(1, 86_400),
    "weights_parameters": span(0, 10**15),  # 0: counted in the files
    "weights_bytes": COUNT,
    "run_config_processes": span(0, 64),
    "run_config_num_shard": span(0, 4096),
    "run_config_num_replicate": span(0, 4096),
    "run_config_master_addr": optional(HOST),
    "run_config_master_port": span(1024, 65_535),
    "run_config_layer_module": form(
        r"Qwen2(MoE|MoT)?DecoderLayer", "Qwen2MoTDecoderLayer, Qwen2MoEDecoderLayer or Qwen2DecoderLayer"
    ),
    "run_config_resume_from": optional(FULL_PATH),  # empty: random weights, which the role run_config judges
    "run_config_max_latent_size": span(1, 4096),
    "run_config_timestep_shift": span(0, 1000, above=True),
    "run_config_log_every": STEPS,
    "run_config_save_every": STEPS,
    "run_config_lr": span(0, 1, above=True),
    "run_config_min_lr": span(0, 1),
    "run_config_ce_weight": span(0, 1000),
    "run_config_mse_weight": span(0, 1000),
    "run_config_warmup_steps": span(0, 10**9),
    "run_config_total_steps": STEPS,
    "run_config_ema": Rule("0 to less than 1", lambda value: 0 <= value < 1),
    # the trainer hands prefetch_factor to its DataLoader, which refuses it without workers
    "run_config_num_workers": span(1, 64),
    "run_config_expected_num_tokens": TOKENS,
    "run_config_max_num_tokens": TOKENS,
    "run_config_max_num_tokens_per_sample": TOKENS,
    "run_config_prefer_buffer_before": span(0, 10**7),
    "run_config_text_cond_dropout_prob": SHARE,
    "run_config_vit_cond_dropout_prob": SHARE,
    "run_config_vae_cond_dropout_prob": SHARE,
    "run_config_debug_batches": span(0, 1000),
    "run_config_wandb_name": form(r".+", "a name"),
    "run_config_wandb_runid": form(r"[^\s/\\#?%:]{1,128}", "a run id: no spaces, and none of / \\ # ? % :"),
    "training_run": FILE_WORD,
    "training_unit": form(
        r"canvas-training-[A-Za-z0-9:_.-]{1,180}(?<!-gpu)(?<!-merge)(?<!-evaluation)",
        "the name of a unit, without .service: it begins with canvas-training-; only its helpers end with -gpu, "
        "-merge, -evaluation",
    ),
    "training_lora_rank": span(1, 256),
    "training_lora_alpha": span(0, 10**6, above=True),
    "training_lora_dropout": Rule("0 to less than 1", lambda value: 0 <= value < 1),
    "training_restarts": span(0, 1000),
    "training_kept_dir": optional(FULL_PATH),
    "training_restore_step": span(-1, 10**9),
    "training_logs_lines": span(0, 1_000),
    "training_fetch_step": span(-1, 10**7),
    "training_fetch_dir": FOLDER,
    "training_merge_step": span(-1, 10**9),
    "evaluation_step": form(r"newest|base|all|merged|[0-9]{1,9}", "newest, base, all, merged, or a step"),
    "evaluation_rows": span(0, 100_000),
    "evaluation_seed": span(0, 2**31 - 1),
    "evaluation_test_file": optional(FULL_PATH),
    "evaluation_report_dir": FOLDER,
    "evaluation_max_iterations": span(1, 100),
    "evaluation_text_temperature": span(0, 10, above=True),
    "evaluation_num_timesteps": span(2, 1000),
    "evaluation_cfg_text_scale": span(0, 100),
    "evaluation_cfg_img_scale": span(0, 100),
    "evaluation_timestep_shift": span(0, 1000, above=True),
    "export_step": form(r"newest|\d{1,7}", "newest, or the step of a checkpoint"),
    "export_license": form(r"[a-z0-9][a-z0-9.-]*", "the id of a license on the hub, such as apache-2.0"),
    "export_push_to": optional(form(r"[\w-][\w.-]*/[\w-][\w.-]*", "user/name of a repository of the hub")),
    "export_push_endpoint": URL,
    "training_peer_port": or_off(span(1024, 65_535)),
    "training_peer_networks": form(r"[0-9A-Fa-f:.]+(/\d{1,3})?", "addresses or networks, such as 10.0.0.0/24"),
    "training_stop_seconds": span(1, 86400),
    "training_load_seconds": span(1, 86400),
    "training_first_step_seconds": span(1, 86400),
    "training_save_seconds": span(1, 86400),
    "training_step_seconds": span(1, 86400),
    "training_warn_first_loss": span(0, 1000),
    "training_max_first_loss": span(0, 1000),
    "training_keep_last": span(0, 1_000_000),
    "training_keep_every": span(0, 1_000_000_000),
}
# With these the host or the intention is unknown, so the run cannot go on.
NEVER_ACCEPTED = (
    "VARIABLE_INVALID",
    "SECRET_MISPLACED",
    *of_reach.ENTRIES,
    "HOST_PART_SILENT",
    *("ACCOUNT_OF_SYSTEM", "ACCOUNT_LIKE_ROOT", "STATE_DIR_OPEN", "UNIT_FOREIGN"),  # of these root would be the price
    "CHECKPOINTS_LINKED_AWAY",  # this and the next: the start itself refuses them, too
    "TRAINING_OF_ANOTHER_RUN",
    "DATASET_IN_USE",  # rows would be lost without a message
)

# W&B's keys have 40 hexadecimal digits, too.
COMMITS = ("canvas_code_commit", "dataset_commit", "weights_revision", "nvidia_repository_fingerprint")

SERVER = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")


def wrong_kind(kind: str, value: Any) -> str:
    """What is expected instead where Ansible's conversion would make something else of the value; "" when it fits.

    It takes true for the number 1, a list for its text, and nothing for no setting at all.
    """
    if value is None:
        return f"{kind}; remove the line to leave it unset"
    if kind in ("int", "float") and isinstance(value, bool):
        return kind
    if kind in ("str", "path") and (isinstance(value, bool) or not isinstance(value, PLAIN)):
        return f"{kind}, in quotes"
    if kind in ("int", "float", "bool") and not isinstance(value, (str, int, float)):
        return kind
    if kind == "dict" and isinstance(value, dict) and not all(isinstance(key, str) for key in value):
        return "dict, with names in quotes"
    if kind == "dict" and isinstance(value, dict) and not all(isinstance(one, PLAIN) for one in value.values()):
        return "dict, with one value for each name"
    if kind.startswith("list of ") and isinstance(value, list):
        return next((f"{kind}" for one in value if isinstance(one, (bool, list, dict)) or one in (None, "")), "")
    return ""


def broken(name: str, kind: str, value: Any) -> str:
    """The expected value instead of a converted one; "" when it is valid."""
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for one in inner:
        if odd := _odd(one):
            return odd
        if kind.endswith("path") and not FULL_PATH.fits(one):
            return FULL_PATH.expected
        rule = RULES.get(name)
        if rule and not rule.fits(one):
            return rule.expected
    return _not_acceptable(value) if name == "preflight_accepted_findings" else ""


def _odd(value: Any) -> str:
    """The expected value instead of one that no host, program or file can take."""
    if isinstance(value, float) and not math.isfinite(value):
        return "a number that is finite"
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number of at most 64 bits"
    if not isinstance(value, str):
        return ""
    if shown.HIDDEN_IN_LINE.search(value) and is_utf8(value):
        return "one line without control characters"
    if len(value) > TEXT:
        return f"at most {TEXT} letters"
    return "" if is_utf8(value) else "a text in UTF-8"


def _not_acceptable(codes: list[str]) -> str:
    for code in codes:
        if code not in CATALOGUE:
            near = difflib.get_close_matches(code.upper(), CATALOGUE, n=1, cutoff=0.5)
            return f"{near[0]}?" if near else "codes of docs/findings.md"
        if code in NEVER_ACCEPTED:
            return f"codes that may be accepted; {code} may not"
    return ""


def broken_secret(kind: str, value: Any) -> str:
    """The expected value instead of a secret; "" when it is no secret."""
    if kind == "dict":
        fits = isinstance(value, Mapping) and all(
            SERVER.fullmatch(str(name)) and isinstance(one, str) and _is_word(one) and masking.clean(one)
            for name, one in value.items()
        )
        return "" if fits else "a mapping of host or host:port to login:password or a token, each of one word"
    return "" if value is None or _is_word(value) else "one word"


def _is_word(secret: Any) -> bool:
    text = masking.clean(secret)
    return (
        isinstance(secret, (str, int)) and not isinstance(secret, bool) and not re.search(r"\s|[\x00-\x1f\x7f]", text)
    )


def misplaced_secret(name: str, value: Any, secrets: Iterable[str] = ()) -> Finding | None:
    """A secret where it would be written into a readable file; its text is not shown. `secrets`: those of the host."""
    given = [one for one in secrets if len(one) >= masking.GRAM]
    for place, key, inner in _leaves(name, "", value):
        text = inner.strip()
        commit = name in COMMITS and re.fullmatch(r"[0-9a-fA-F ]{40,50}", text)
        if (not commit and masking.holds_secret(key, text)) or any(one in text for one in given):
            return finding(
                "SECRET_MISPLACED",
                variable=name,
                found=f"{masking.masked(place)} holds a secret",
                expected="no secret in this variable",
            )
    return None


def _leaves(place: str, key: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Each text of a value: where it stands, the key that names it, and the text."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{place}: {name}", str(name), inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _leaves(place, key, inner)
    elif value is not None and not isinstance(value, bool):
        yield place, key, str(value)
