"""Brings one file out of a git repository onto this host, with git itself."""

from __future__ import annotations

from pathlib import Path

from ...core.errors import FleetError
from ...core.masking import public
from ...system import files, folders
from ...system.git import Git, Tell

LFS = b"version https://git-lfs.github.com/spec/"


def quiet(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def fetch_git(repo: str, commit: str, inside: str, part: Path, cache: Path, tell: Tell) -> None:
    """Write the file `inside` of that commit to `part`. Fetches only this file of this commit if the server allows
    it."""
    folders.make(cache)
    git = Git(str(cache), bare=True, variable="dataset_repo", tell=tell)
    _prepare(git, repo, cache)
    tell(0, 0)
    name = commit if _fetched(commit, cache) else _fetch_commit(git, repo, commit)
    files.remove(part)
    with files.open_part(part) as out:
        try:
            git("cat-file", "blob", f"{name}:{inside}", out=out)
        except FleetError as error:
            if error.variable:
                raise
            raise FleetError(
                "the file is not in the repository at this commit",
                variable="dataset_train or dataset_test",
                found=f"{inside} at {commit} of {public(repo)}: {error.found[-200:]}",
                remedy="give the path inside the repository",
            ) from error
    _refuse_pointer(part, inside)
    tell(part.stat().st_size, part.stat().st_size)


def _fetch_commit(git: Git, repo: str, commit: str) -> str:
    """The cache's name of the commit. A server without single commits is asked for all."""
    if git.answers("fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit):
        return "FETCH_HEAD"
    try:
        git("fetch", "--quiet", "--tags", "--force", "origin", "+refs/heads/*:refs/heads/*")
    except FleetError as error:
        raise error if error.variable else _no_commit(repo, commit, error.found) from error
    if not git.has(commit):
        raise _no_commit(repo, commit, "the repository has no such commit")
    return commit


def _fetched(commit: str, cache: Path) -> bool:
    """True for a full commit id that was fetched alone before; git itself would ask the server."""
    return commit in files.text(cache / "shallow").split()


def _prepare(git: Git, repo: str, cache: Path) -> None:
    if not (cache / "HEAD").exists():
        git("init", "--quiet", "--bare")
    for key, value in (("url", repo), ("promisor", "true"), ("partialclonefilter", "blob:none")):
        git("config", f"remote.origin.{key}", value)


def _no_commit(repo: str, commit: str, problem: str) -> FleetError:
    return FleetError(
        f"the commit cannot be fetched from {public(repo)}",
        variable="dataset_commit",
        found=f"commit {commit}: {' '.join(problem.split())[-300:]}",
        expected="a commit of dataset_repo",
        remedy="correct dataset_repo or dataset_commit, or give this host access",
    )


def _refuse_pointer(part: Path, inside: str) -> None:
    content, _status = files.open_plain(part)
    with content:
        if content.read(len(LFS)) != LFS:
            return
    raise FleetError(
        "the repository holds a Git LFS pointer instead of the file",
        variable="dataset_source",
        found=inside,
        expected="the parquet itself",
        remedy="use dataset_source: url with the file's address, or controller with a copy of it",
    )
