"""The plan's part about the model folder. Runs on the controller, and in the role before it fetches."""

from __future__ import annotations

import re

from ...core.progress import amount
from ...core.role_plan import RolePlan
from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer.model import Read
from .observe import Observation

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
SIZE_TOLERANCE = 0.01  # of weights_parameters: less changes nothing that the plan says


def decide(seen: Observation, settings: Settings, topology: Topology | None) -> RolePlan:
    findings = judge_settings(settings) + judge_folder(seen, settings) + judge_size(seen.model or Read(), settings)
    reasons = []
    states: dict[str, list[str]] = {"absent": [], "unverified": [], "verified": []}
    for name, file in seen.files.items():
        states[file.state].append(name)
    if states["absent"]:
        reasons.append(f"not there: {', '.join(states['absent'])}")
    if states["unverified"]:
        reasons.append(f"not verified: {', '.join(states['unverified'])}")
    reasons += ["the account can write its record"] if seen.former else []
    reasons += revision_reasons(seen, settings) if states["verified"] else []
    summary = f"{len(seen.files)} files, {amount(seen.bytes, 'B')}, revision {seen.revision[:7]}"
    return RolePlan(tuple(reasons), tuple(findings), {"bytes": seen.bytes}, summary)


def revision_reasons(seen: Observation, settings: Settings) -> list[str]:
    """A record that is not finished has no repo yet."""
    repo, revision = settings["weights_repo"], settings["weights_revision"]
    if seen.repo != repo:
        return [f"{seen.repo or 'unfinished work'} instead of {repo}"]
    if revision not in (seen.revision, seen.asked):
        return [f"revision {seen.revision[:7]} instead of {revision[:7]}"]
    return []


def judge_settings(settings: Settings) -> list[Finding]:
    """Findings that need no host: the form of revision and digests."""
    found = []
    if not COMMIT.fullmatch(settings["weights_revision"]):
        found.append(
            finding(
                "REVISION_NOT_PINNED",
                variable="weights_revision",
                found=f"weights_revision: {settings['weights_revision']}",
                expected="40 hex digits",
            )
        )
    for name, digest in settings["weights_sha256"].items():
        if name not in settings["weights_files"]:
            given, wanted = f"{name} is not in weights_files", "names of weights_files"
        elif not SHA256.fullmatch(str(digest)):
            given, wanted = f"{name}: {digest}", "64 hex digits"
        else:
            continue
        found.append(finding("VARIABLE_INVALID", variable="weights_sha256", found=given, expected=wanted))
    for name in settings["weights_files"]:
        if name.startswith("/") or ".." in name.split("/"):
            found.append(finding("VARIABLE_INVALID", variable="weights_files", found=name, expected="names of files"))
    return found


def judge_folder(seen: Observation, settings: Settings) -> list[Finding]:
    folder = settings["weights_dir"]
    if seen.kind == "other":
        given = f"{folder} is no folder"
        return [finding("PATH_IS_A_FILE", variable="weights_dir", found=given, expected="a folder, or nothing yet")]
    wrong = []
    for name, digest in settings["weights_sha256"].items():
        have = seen.files[name].sha256 if name in seen.files else ""
        if have and have != digest and SHA256.fullmatch(str(digest)):
            wrong.append(
                finding(
                    "WEIGHTS_DIGEST_WRONG",
                    variable="weights_sha256",
                    found=f"{folder}/{name}: sha256 {have}",
                    expected=f"sha256 {digest}",
                )
            )
    return wrong


def judge_size(model: Read, settings: Settings) -> list[Finding]:
    """The count that the plan goes by, against the one of the files; 0 leaves it to them."""
    given, counted = settings.get("weights_parameters"), model.parameters
    if counted and given and abs(counted - given) > SIZE_TOLERANCE * given:
        found, expected = f"weights_parameters: {given}", f"{counted}, as counted in {model.source}"
    elif not counted and given == 0:
        found, expected = model.problem or "no weights to count in yet", "a number"
    else:
        return []
    return [finding("WEIGHTS_SIZE_UNSURE", variable="weights_parameters", found=found, expected=expected)]
