# Copyright: canvas-fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host's answer to an action of the collection. Only declared keys reach the task's result.

Ansible obeys some keys of a result, whoever wrote them (add_host, add_group, ansible_facts, _ansible_*).
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

# Ansible reads an answer with it and has no public name for it; another reader could find another answer in the text.
from ansible.module_utils.json_utils import _filter_non_json_lines

from ..module_utils.checkpoints.offer import Offer
from ..module_utils.core import shown, wire
from ..module_utils.core.errors import FleetError
from ..module_utils.evaluation.offer import Offer as EvaluationOffer
from ..module_utils.findings.finding import finding
from ..module_utils.roles.evaluation import observe as evaluation
from ..module_utils.roles.export.observe import Seen
from ..module_utils.roles.nvidia.order import WorkOrder
from ..module_utils.roles.training.logs import News
from ..module_utils.roles.training.report import Report
from ..module_utils.system import files

Kinds = Mapping[str, Any]
TEXTS = tuple[str, ...]
TEXT_OF = Mapping[str, str]
DIFF = tuple[TEXT_OF, ...] | TEXT_OF
SCALARS = Mapping[str, bool | int | float | str | None] | None
PARTS = tuple[Mapping[str, bool | int | float | str | None], ...]
TAKE_BACK = tuple[Literal["conda_env", "nvidia"], ...]  # named in an include_role
DATA = dict  # plain data that its reader checks; nothing in it is obeyed
ORDERS = ("add_host", "add_group")  # obeyed by ansible-core 2.19 and 2.20, beside what begins with _ansible_
SPOKEN = ("warnings", "deprecations")  # shown by ansible-core 2.21 as soon as it has read them
OBJECTS = (*SPOKEN, "exception")  # Ansible's own objects; elsewhere a mark (a deprecation) is shown to whoever reads it
MARK = "__ansible_type"
COMING, ROOM = 128 << 20, 512 << 20  # bytes of memory while an answer comes, and to read it; 16 MiB of JSON take 400

# What each module may answer.
COMMON: Kinds = {
    **dict.fromkeys(("changed", "failed", "skipped"), bool),
    **dict.fromkeys(("msg", "module_stdout", "module_stderr"), str),
    "rc": int,
    "finding": TEXT_OF,
    "holder": TEXT_OF,
    "warnings": TEXTS,
}
MODULES: Mapping[str, Kinds] = {
    "canvas_code": {
        **dict.fromkeys(("before", "commit", "stashed"), str),
        **dict.fromkeys(("edits", "patched"), TEXTS),
        "needs_archive": bool,
        "diff": DIFF,
    },
    "checkpoint_fetch": {"offer": Offer},
    "checkpoint_restore": {"moves": TEXTS, "resumes_from": int | None, "diff": DIFF},
    "dataset_originals": {**dict.fromkeys(("reasons", "folders", "lacking"), TEXTS), "diff": DIFF},
    "evaluation": {"seen": evaluation.Observation},
    "evaluation_report": {"offer": EvaluationOffer, "pieces": TEXTS},
    "export_card": {"chosen": Seen},
    "guarded": {},  # a module of Ansible's own
    "host_info": {"observation": DATA, "lock": TEXT_OF},
    "host_work": {"work": DATA, "would": TEXTS},
    "nvidia_host": {
        **dict.fromkeys(("state", "detail"), str),
        **dict.fromkeys(("reasons", "packages"), TEXTS),
        "work": WorkOrder,
        "restart": bool,
        "diff": DIFF,
    },
    "readers": {"readers": TEXTS, "changes": TEXTS, "diff": DIFF},
    "run_files": {"files": PARTS, "diff": DIFF},
    "teardown": {"removed": PARTS, "kept": PARTS, "roles": TAKE_BACK, "diff": DIFF},
    "training_logs": {"news": News},
    "training_unit": {"training": Report, "steps": TEXTS, "waiting": str, "findings": PARTS, "diff": DIFF},
}
# What each worker may return. The account that a worker runs as can write its record.
WORKERS: Mapping[str, Kinds] = {
    "conda_env": {
        **dict.fromkeys(("prefix", "digest"), str),
        "python": str | None,
        **dict.fromkeys(("versions", "imports", "torch"), SCALARS),
        "done": TEXTS,
    },
    "dataset": {"rows": int, "row_groups": int, "dropped": tuple[int, ...], "longest": Mapping[str, int]},
    "evaluation": {"mode": str, "folder": str, "rows": int, "lettered": int, "subjects": Mapping[str, int]},
    "export": {
        **dict.fromkeys(("name", "path", "weights"), str),
        **dict.fromkeys(("step", "bytes"), int),
        "shared": bool,
        "edited": TEXTS,
    },
    "fleet_agent": {"done": TEXTS},
    "nvidia": dict.fromkeys(("installed", "held", "done"), TEXTS),
    "training": {"step": int, "path": str, "bytes": int, "swallowed": float},
    "weights": {**dict.fromkeys(("fetched", "adopted"), TEXTS), "revision": str, "bytes": int},
}


def harmless(stdout: str) -> str:
    """A module's output without what Ansible would obey, or show as it comes: orders, raw warnings, marked values."""
    try:
        text, _around = _filter_non_json_lines(stdout, objects_only=True)
        given = json.loads(text)
    except ValueError:
        return stdout  # no answer; Ansible says so
    kept = {key: _harmless(key, one) for key, one in given.items() if not _is_order(key)}
    if kept == given:
        return stdout
    return stdout.replace(text, json.dumps(kept)) if text in stdout else json.dumps(kept)


def _harmless(key: str, value: Any) -> Any:
    said = value if key in OBJECTS else _unmarked(value)
    return shown.each(said) if key in SPOKEN else said


def _unmarked(value: Any) -> Any:
    """Plain data without Ansible's types: of a value with marks the value alone."""
    while isinstance(value, dict) and MARK in value and "value" in value:
        value = value["value"]
    if isinstance(value, dict):
        return {key: _unmarked(one) for key, one in value.items() if key != MARK}
    return [_unmarked(one) for one in value] if isinstance(value, list) else value


def _is_order(key: str) -> bool:
    return key in (*ORDERS, MARK) or (key.startswith("_ansible_") and key != "_ansible_parsed")


@contextmanager
def bounded() -> Iterator[None]:
    """An answer that never ends, or nests without end, costs the controller a bounded part of its memory. Ansible joins
    its pieces one by one, so that a larger bound would cost minutes of a processor, too."""
    with _room(COMING):
        yield


@contextmanager
def read_within() -> Iterator[None]:
    """The answer is there, and no longer than it may be: more memory to read it."""
    with _room(ROOM):
        yield


@contextmanager
def _room(more: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _memory() + more
    resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(hard, most), hard))
    try:
        yield
    except MemoryError:
        raise refused(f"an answer that needs more than {more >> 20} MiB", "an answer of limited size") from None
    except RecursionError:
        raise refused("an answer of endless depth", f"at most {wire.DEPTH} levels") from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _memory() -> int:
    """Bytes of this process's address space."""
    return int(files.kernel("/proc/self/statm").split()[0]) * resource.getpagesize()


def within(size: int) -> None:
    """Raises FleetError for a text of more characters than an answer may have."""
    if size > wire.WHOLE:
        raise refused(f"an answer of {size} characters", f"at most {wire.WHOLE}")


def refused(found: str, expected: str) -> FleetError:
    return FleetError.of(finding("HOST_ANSWER_MALFORMED", found=found, expected=expected))


def of_module(module: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The declared keys, or a failed result with HOST_ANSWER_MALFORMED."""
    given = {**_raised(answer), **answer, "warnings": _warnings(answer.get("warnings"))}
    return _declared({**COMMON, **MODULES[module]}, given, module)


def of_worker(worker: str, result: Any) -> dict[str, Any]:
    """The same of what a worker left in its record."""
    return {"changed": False, **_declared({"changed": bool, **WORKERS.get(worker, {})}, result, f"worker {worker}")}


def _declared(kinds: Kinds, answer: Any, place: str) -> dict[str, Any]:
    try:
        given = _read(DATA, answer, place)
        wire.bounded(given, place)
        read = {key: _read(kind, given[key], f"{place}.{key}") for key, kind in kinds.items() if key in given}
    except wire.MalformedError as error:
        found = f"{error.place}: {error.found}"
        return {"changed": False, "failed": True, **refused(found, error.expected).as_result()}
    return {key: value for key, value in read.items() if key != "warnings" or value}


def _read(kind: Any, value: Any, place: str) -> Any:
    if kind is not DATA:
        return wire.to_dict(wire.from_dict(kind, value, place))
    if not isinstance(value, dict):
        raise wire.MalformedError(place, wire.shown(value), "mapping")
    return value


def _raised(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The message of an unexpected error. Ansible gives it as an object with an event."""
    event = getattr(answer.get("exception"), "event", None)
    return {"msg": event.msg} if event else {}


def _warnings(given: Any) -> list[str]:
    """Texts of warnings. Ansible gives them as objects with an event."""
    texts = [getattr(getattr(one, "event", None), "msg", one) for one in given] if isinstance(given, list) else []
    return [text for text in texts if isinstance(text, str)]
