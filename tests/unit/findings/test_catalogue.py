"""The catalogue of findings: every code is used, every used code is in it, every trap has its code."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.findings import catalogue
from ansible_collections.canvas.fleet.plugins.module_utils.findings.catalogue import CATALOGUE, PARTS
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import SEVERITIES
from ansible_collections.canvas.fleet.plugins.module_utils.plan.rules import NEVER_ACCEPTED

from tests.unit.support.places import ROOT

CORES = [path for path in (ROOT / "plugins").rglob("*.py") if not path.name.startswith(("catalogue", "of_"))]
TESTS = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests/fuzz").glob("*.py"), *(ROOT / "molecule").rglob("*.yml"),
         *(ROOT / "tests/fixtures/ansible").glob("*.yml")]  # fmt: skip
WORDS = 29  # in one sentence of an entry
TOLD = re.compile(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"')

# Traps of the trainer's contract and of the issue, and the codes that report them.
TRAPS = {
    "yaml in another dialect": ["YAML_DIALECT"],
    "registration in another dialect": ["REGISTRATION_DIALECT", "REGISTRATION_BY_HAND", "REGISTRATION_BROKEN"],
    "a group without a class": ["GROUP_UNKNOWN"],
    "info paths of another machine": ["INFO_PATHS_FOREIGN"],
    "files chosen in directory order": ["DATASET_FOLDER_FOREIGN"],
    "train and test in one folder": ["TRAIN_TEST_TOGETHER"],
    "a null index": ["INDEX_HAS_NULLS"],
    "rows that training drops": ["DATASET_ROWS_BAD", "DATASET_ROWS_DROPPED", "IMAGE_CUT_SHORT"],
    "a solution without an image": ["SOLUTION_WITHOUT_IMAGE"],
    "columns that the loader reads": ["DATASET_COLUMN_MISSING"],
    "samples over the limit": ["SAMPLES_TOO_LONG", "BATCH_OVERFLOWS"],
    "samples that packing throws away": ["PACKING_DROPS_SAMPLES"],
    "rows that are there twice": ["DUPLICATE_ROWS"],
    "test rows in train": ["TEST_ROWS_IN_TRAIN"],
    "row groups against ranks and workers": ["ROW_GROUPS_STARVE", "ROW_GROUPS_UNSEEN", "ROWS_TOO_FEW"],
    "training from scratch": ["WEIGHTS_NOT_ASKED", "RESUME_FROM_MISSING"],
    "the four resume flags": ["WEIGHTS_NOT_ASKED", "AUTO_RESUME_OFF"],
    "a finished or foreign checkpoint folder": ["RUN_ALREADY_DONE", "CHECKPOINT_OTHER_MODEL"],
    "names that are no numbers": ["CHECKPOINTS_FOREIGN_NAME"],
    "a save that was cut": ["CHECKPOINT_INCOMPLETE", "CHECKPOINTS_NONE_WHOLE"],
    "another number of shards": ["CHECKPOINT_SHARDS_DIFFER"],
    "more workers than at the save": ["WORKERS_GROWN"],
    "a save before every worker gave a batch": ["SAVED_BEFORE_ALL_WORKERS"],
    "steps that are never saved": ["TAIL_STEPS_UNSAVED", "NO_SAVE_AT_ALL"],
    "an average too slow": ["EMA_TOO_SLOW"],
    "sample text in the log": ["DEBUG_BATCHES_PRINT"],
    "a key in a script": ["WANDB_KEY_IN_SCRIPT", "SECRET_MISPLACED"],
    "W&B without a key": ["WANDB_KEY_MISSING"],
    "flags that the parser does not know": ["FLAG_UNKNOWN"],
    "a checkpoint of another kind": ["CHECKPOINT_OTHER_PROFILE", "CHECKPOINT_OTHER_OPTIMIZER", "PROFILE_UNKNOWN"],
    "adapters that hardly move": ["LORA_RATE_LOW", "ADAPTERS_STILL", "ADAPTERS_UNEXPECTED"],
    "the mesh": ["SHARDS_MISMATCH", "REPLICAS_NOT_AVERAGED"],
    "frozen parts on unpatched code": ["FREEZE_NEEDS_PROFILE"],
    "no GPU": ["NO_GPU", "GPU_COUNT_SHORT"],
    "GPU memory": ["GPU_MEMORY_SHORT", "GPU_MEMORY_TIGHT"],
    "host memory": ["HOST_MEMORY_SHORT", "HOST_MEMORY_TIGHT"],
    "disk": ["DISK_SHORT"],
    "driver against CUDA": ["NVIDIA_DRIVER_BROKEN", "NVIDIA_REBOOT_NEEDED", "NVIDIA_SYSTEM_UNKNOWN"],
    "torch's CUDA build (the guide's cu121)": ["TORCH_BUILD_MISSING", "TORCH_BUILD_UNFIT"],
    "compiler and headers for flex attention": ["COMPILER_MISSING"],
    "noexec folders": ["MOUNT_NOEXEC", "MOUNT_READ_ONLY"],
    "a busy GPU": ["GPU_BUSY"],
    "memory errors of a GPU": ["GPU_ECC_ERRORS"],
    "GPUs of several kinds": ["GPU_MIXED"],
    "clocks": ["CLOCK_SKEW"],
    "a taken port": ["PORT_TAKEN"],
    "hosts that cannot reach each other": ["PEER_UNREACHABLE", "ADDRESS_TWICE"],
    "hosts with different settings": ["RUN_DISAGREES"],
    "a small /dev/shm": ["SHM_SMALL"],
    "no systemd": ["NO_SYSTEMD"],
    "an unknown upstream commit": ["UPSTREAM_UNKNOWN", "UPSTREAM_FILE_UNKNOWN"],
    "a revision that is not pinned": ["REVISION_NOT_PINNED"],
}


def texts(paths: list[Path]) -> str:
    return "\n".join(path.read_text() for path in paths if path != Path(__file__))


def test_every_code_is_told_by_a_core() -> None:
    told = set(TOLD.findall(texts(CORES)))
    assert sorted(set(CATALOGUE) - told) == []


def test_every_finding_that_a_core_tells_is_in_the_catalogue() -> None:
    told = set(re.findall(r'finding\(\s*"([A-Z_]+)"', texts(CORES)))
    assert sorted(told - set(CATALOGUE)) == []


@pytest.mark.parametrize("path", CORES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_repeats_a_finding(path: Path) -> None:
    """`FleetError.of(finding)` carries the code as data; a text that begins with a code is a copy of the catalogue."""
    texts = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert [
        text for text in texts if isinstance(text, str) and text.partition(":")[0] in CATALOGUE and ":" in text
    ] == []


@pytest.mark.parametrize("path", [*(ROOT / "plugins/modules").glob("*.py")], ids=lambda path: path.stem)
def test_a_module_reports_its_errors_by_one_helper(path: Path) -> None:
    """`reported` gives the text and the finding; a module that calls fail_json itself gives the text alone."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if isinstance(node, ast.Attribute) and node.attr == "fail_json"] == []


def test_every_code_is_asserted_by_a_test() -> None:
    asserted = set(re.findall(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+", texts(TESTS)))
    assert sorted(set(CATALOGUE) - asserted) == []


def test_no_code_is_in_two_parts() -> None:
    assert sum(len(part.ENTRIES) for part in PARTS) == len(CATALOGUE)
    assert {code for part in PARTS for code in part.ENTRIES} == set(catalogue.CATALOGUE)


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_an_entry_says_why_and_what_to_do(code: str) -> None:
    entry = CATALOGUE[code]
    assert entry.severity in SEVERITIES
    assert len(entry.because) > 10
    assert len(entry.remedy) > 10
    assert not entry.because.endswith(".")
    assert not entry.remedy.endswith(".")


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_an_entry_says_one_thought_a_sentence(code: str) -> None:
    """Sentences of an entry are parted by a semicolon or a colon. Three of them, or a long one, are read twice."""
    entry = CATALOGUE[code]
    for text in (entry.because, entry.remedy):
        assert text.count(";") <= 1, text
        assert max(len(one.split()) for one in re.split(r"[;:] ", text)) <= WORDS, text


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_code(trap: str) -> None:
    assert set(TRAPS[trap]) <= set(CATALOGUE)


def test_what_is_never_accepted_is_an_error() -> None:
    assert {CATALOGUE[code].severity for code in NEVER_ACCEPTED} == {"error"}


def test_the_page_of_findings_names_every_code_once() -> None:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|", page.findings(page.ENGLISH, {}), re.MULTILINE)
    assert sorted(rows) == sorted(CATALOGUE)
