"""The plan's part about patches and upstream code. Pure."""

from __future__ import annotations

from ...core.settings import Settings
from ...core.topology import Topology
from ...findings.finding import Finding, finding
from ...trainer import known as upstream
from ...trainer import patch as patches
from ...trainer import patch_table
from .git import Ours, same_repo
from .observe import Observation
from .patched import Code
from .patching import unknown


def reasons(seen: Code, settings: Settings) -> list[str]:
    """Patches to apply or remove; files that cannot be patched are findings, not reasons."""
    found = []
    for path in patch_table.paths():
        wanted, digest = patch_table.wanted(settings, path, seen.built_in), seen.digests.get(path, "")
        there, _unused = patches.standing(patch_table.known(path), seen.patched.get(path, digest))
        older = path in seen.patched and not there
        if (wanted == there and not older) or not patches.knows(wanted, digest):
            continue
        asked, have = ([patch.setting for patch in group] for group in (wanted, there))
        lacks = [one for one in dict.fromkeys(asked) if one not in have]
        beyond = [one for one in dict.fromkeys(have) if one not in asked]
        found += [f"{path} lacks the patch of {one}" for one in lacks]
        found += [f"{path} has the patch of {one}, but should not" for one in beyond]
        if not lacks and not beyond:
            found.append(f"{path} has the patches of another version")
    return found


def findings(seen: Code, settings: Settings, commit: str) -> list[Finding]:
    """Findings about unknown upstream code."""
    found = [*_patch_findings(seen, settings)]
    if upstream.is_bagel(seen.digests):
        return [*found, not_supported(f"{settings['canvas_code_dir']}: files of ByteDance-Seed/Bagel")]
    if seen.digests.get("train/pretrain_unified_navit.py") == upstream.DEBUG_BROKEN:
        found += _debug_broken(settings)
    compared = upstream.compare(seen.digests)
    if compared.known:
        return found
    what = f"commit {commit[:8]}" if commit else "the copy"
    known = " or ".join(one[:8] for one in upstream.COMMITS)
    unsure = f"rules that hold: {', '.join(compared.holding)}; rules in doubt: {', '.join(compared.unsure)}"
    return [
        *found,
        finding(
            "UPSTREAM_UNKNOWN",
            found=f"{what}: {compared.differences()}",
            expected=f"the files of {known}; {unsure if compared.holding else 'all rules are in doubt'}",
            variable="canvas_code_commit",
        ),
    ]


def _patch_findings(seen: Code, settings: Settings) -> list[Finding]:
    found = []
    for path in patch_table.paths():
        wanted, digest = patch_table.wanted(settings, path, seen.built_in), seen.digests.get(path, "")
        if not patches.knows(wanted, digest):
            found.append(unknown(wanted, digest))
    return found


def in_the_way(seen: Observation, settings: Settings) -> list[Finding]:
    """Before a change of version: an edit by hand in a file to be patched would stay."""
    patched = Ours.of(settings).patched
    saved = seen.in_the_way if settings["canvas_code_local_edits"] == "stash" else ()
    found = []
    for path in seen.edits:
        wanted = patch_table.wanted(settings, patched[path]) if path in patched else ()
        if wanted and path not in saved:
            found.append(unknown(wanted, (seen.code or Code()).digests.get(patched[path], "")))
    return found


def not_averaged(code: Code | None, settings: Settings, topology: Topology) -> list[Finding]:
    """Copies of one shard each without the patch. `code`: None until it is there; what a known commit has is known."""
    strategy = (settings.get("run_config_extra_flags") or {}).get("sharding_strategy", "HYBRID_SHARD")
    if topology.num_shard != 1 or topology.num_replicate < 2 or strategy != "HYBRID_SHARD":
        return []
    known = settings["canvas_code_source"] == "git" and settings["canvas_code_commit"] in upstream.COMMITS
    if patch_table.averages(settings, code.built_in if code else ()) or (code is None and not known):
        return []
    return [
        finding(
            "REPLICAS_NOT_AVERAGED",
            found=f"num_replicate {topology.num_replicate} × num_shard 1, training_profile "
            f"{settings.get('training_profile') or 'full'}, canvas_code_lean {bool(settings.get('canvas_code_lean'))}",
            expected="canvas_code_lean: true, or one copy of several shards",
            variable="canvas_code_lean",
        )
    ]


def _debug_broken(settings: Settings) -> list[Finding]:
    count = settings.get("run_config_debug_batches") or 0
    if count < 1:
        return []
    variable = "run_config_debug_batches"
    return [finding("DEBUG_BATCHES_BROKEN", found=f"debug_batches {count} at 4bcc604", expected="0", variable=variable)]


def of_bagel(settings: Settings) -> list[Finding]:
    """The finding for a repository with different code, before anything is cloned."""
    repo = str(settings.get("canvas_code_repo") or "")
    if settings["canvas_code_source"] == "controller" or not same_repo(repo.lower(), upstream.BAGEL_REPO.lower()):
        return []
    return [not_supported(f"canvas_code_repo: {repo}")]


def not_supported(what: str) -> Finding:
    expected = "shiwk24/MathCanvas, whose BAGEL-Canvas can read interleaved reasoning data"
    return finding("UPSTREAM_NOT_SUPPORTED", found=what, expected=expected, variable="canvas_code_repo")
