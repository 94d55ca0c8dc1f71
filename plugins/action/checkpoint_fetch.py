# SPDX-License-Identifier: Apache-2.0
"""Brings a checkpoint, a merged model or an export, logs and losses of a run to the controller, verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..module_utils.checkpoints import exports, models
from ..module_utils.checkpoints import offer as offers
from ..module_utils.checkpoints.exports import SUMS
from ..module_utils.checkpoints.offer import File, Offer
from ..module_utils.checkpoints.seal import Place, kept_dir_of
from ..module_utils.core import progress, wire
from ..module_utils.core.errors import FleetError
from ..module_utils.core.settings import named
from ..module_utils.system import files, folders
from ..module_utils.trainer.checkpoint import examine
from ..plugin_utils.role_action import RoleAction
from ..plugin_utils.transfer import Digests, OtherContentError, Total, Transfer, need_room, size_of

RECORDS = (models.RECORD, exports.RECORD)  # a folder that has one is whole
GOES_ON = "nothing is changed there"
LOCK = ".lock"


class ActionModule(RoleAction):
    """Nothing is to be done on a host of a higher rank: the first one has logs and checkpoints."""

    _supports_diff = False

    def work(self) -> dict[str, Any]:
        if int(self.topology["node_rank"]):
            return {"changed": False, "skipped": True, "skip_reason": "the first host of the run has the results"}
        self.doing = "fetch"
        if getattr(self._connection, "transport", "") != "ssh":
            raise FleetError("files are fetched by SSH alone", variable="ansible_connection", expected="ssh")
        self.run_folder = os.path.join(
            os.path.abspath(os.path.expanduser(str(self.settings["training_fetch_dir"]))),
            str(self.settings["training_run"]),
        )
        self.digest = Digests(self._line, self.clock)
        offer = self._offer()
        folder = self._folder(offer)
        lacking = self._lacking(folder, offer.files)
        logs = self._lacking(self.run_folder, offer.logs)
        missed: list[File] = []
        sums = sums_of(folder, offer.files)
        stale = bool(offer.files) and files.text(os.path.join(folder, SUMS), follow=False) != sums
        if not self._task.check_mode:
            with self._alone():
                missed = self._bring(offer, folder, lacking, logs)
                if self.settings["training_fetch"] == "checkpoint":
                    require_whole(folder, offer.step)
                if stale:
                    files.write(os.path.join(folder, SUMS), sums.encode())
        brought = [one for one in (*lacking, *logs) if one not in missed]
        self._tell(offer, folder, brought, missed)
        return {
            "changed": bool(brought or stale),
            "folder": folder,
            "fetched": [one.name for one in brought],
            "step": offer.step,
            "files": [one.name for one in offer.files],
            "sealed": offer.sealed,
        }

    def _tell(self, offer: Offer, folder: str, brought: Sequence[File], missed: Sequence[File]) -> None:
        fetched = "would be fetched" if self._task.check_mode else "fetched, as on the host"
        for one in (*offer.files, *offer.logs):
            place = folder if one in offer.files else self.run_folder
            how = fetched if one in brought else "was here already, as on the host"
            how = "is left out: it was replaced meanwhile, so fetch it again" if one in missed else how
            self.show(f"{os.path.join(place, one.name)}  {progress.amount(one.size, 'B')}  {how}")
        for name in offer.left_out:
            self.show(f"{self.host}  {name} has more than {progress.amount(offers.LOG_BYTES, 'B')} and is left out")

    def _offer(self) -> Offer:
        what, step = str(self.settings["training_fetch"]), int(self.settings["training_fetch_step"])
        if what != "logs":
            self.show(f"{self.host}  asks for {what}; what has no digest in its seal yet is read once on the host")
        answer = self.patiently(GOES_ON, settings=self.settings)
        if "offer" not in answer:
            raise FleetError(str(answer.get("msg") or "the host makes no offer"))
        given = wire.from_dict(Offer, answer["offer"])
        limit = int(self.topology.get("checkpoint_bytes") or 0)
        return offers.checked(given, what, step, limit, self.settings["weights_files"])

    def _folder(self, offer: Offer) -> str:
        """A merged model and an export lie apart, as on the host: in such a folder is a model for inference alone."""
        if offer.export:
            return f"{exports.exports_of(self.run_folder)}/{offer.export}"
        if offer.merged:
            return models.folder_of(self.run_folder, offer.step)
        return os.path.join(self.run_folder, f"{offer.step:07d}") if offer.files else self.run_folder

    def _lacking(self, folder: str, offered: Sequence[File]) -> list[File]:
        """What is not there yet with the offered content."""
        return [one for one in offered if not is_here(os.path.join(folder, one.name), one, self.digest)]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two fetches of a run would write the same part."""
        folders.make(self.run_folder, mode=0o777 & ~umask())
        try:
            with files.locked(os.path.join(self.run_folder, LOCK), wait=False):
                yield
        except BlockingIOError as error:
            raise FleetError(
                "another fetch of this run is under way",
                variable="training_fetch_dir",
                found=self.run_folder,
                expected="one fetch at a time",
                remedy="wait for its end, or name another folder (-e training_fetch_dir=…)",
            ) from error

    def _bring(self, offer: Offer, folder: str, lacking: Sequence[File], logs: Sequence[File]) -> list[File]:
        """The logs come first, as they were offered a moment ago. Returns those that were replaced meanwhile."""
        if not lacking and not logs:
            return []
        remotes = self._remotes(offer)
        wanted = [(one, self.run_folder) for one in logs] + [(one, folder) for one in lacking]
        folders.make(folder)
        parts = {one.name: min(size_of(f"{os.path.join(folder, one.name)}.part"), one.size) for one in lacking}
        need_room(folder, sum(one.size for one, _place in wanted) - sum(parts.values()))
        total = Total(sum(one.size for one, _place in wanted))
        transfer = Transfer(self._sftp, self._line, self.clock, float(self.settings["fleet_reconnect_timeout"]))
        missed: list[File] = []
        for name in [one.name for one in lacking if one.name in RECORDS]:
            files.remove(os.path.join(folder, name))  # of another merge, or another export
        for one, place in wanted:
            folders.make(os.path.dirname(os.path.join(place, one.name)))
            try:
                fetch(transfer, remotes[one.name], os.path.join(place, one.name), one, total, self.digest)
            except OtherContentError:
                if not offer.files or one not in logs:
                    raise
                missed.append(one)
        return missed

    def _remotes(self, offer: Offer) -> dict[str, str]:
        """Full paths on the host, from the settings alone."""
        names = ("training_results_dir", "training_checkpoint_dir", "training_kept_dir")
        results, checkpoints, kept = (str(named(self.settings, name)) for name in names)
        place = Place(checkpoints.rstrip("/"), kept_dir_of(results, checkpoints, kept))
        folder = place.links(offer.step) if offer.linked else place.folder(offer.step)
        if offer.merged:
            folder = models.folder_of(results, offer.step)
        if offer.export:
            folder = f"{exports.exports_of(results)}/{offer.export}"
        found = {one.name: f"{results.rstrip('/')}/{one.name}" for one in offer.logs}
        return {**found, **{one.name: f"{folder}/{one.name}" for one in offer.files}}

    def _sftp(self) -> Sequence[bytes]:
        """As Ansible's own transfers: key, port, jump host and host key check are those of the inventory.

        Ansible has no public name for it: fetch_file knows neither resuming nor progress.
        """
        ssh: Any = self._connection
        command: Sequence[bytes] = ssh._build_command(ssh.get_option("sftp_executable"), "sftp", f"[{ssh.host}]")
        return command

    def _line(self, text: str) -> None:
        self.show(f"{self.host}  fetch  {text}")


def require_whole(folder: str, step: int) -> None:
    """What came is what a training resumes from. Raises FleetError."""
    found = examine(folder, step)
    if not found.whole:
        raise FleetError(
            "what the host offered is no whole checkpoint",
            found=f"{folder}: {'; '.join(found.flaws[:3])}",
            expected="all files that a training resumes from",
            remedy="fetch another step (-e training_fetch_step=…)",
        )


def sums_of(folder: str, offered: Sequence[File]) -> str:
    """SHA256SUMS with these files, and those of earlier fetches that are still there."""
    known = {name: digest for name, digest in exports.sums_in(folder).items() if files.stays_below(name)}
    there = {name: digest for name, digest in known.items() if os.path.isfile(os.path.join(folder, name))}
    return exports.sums_text({**there, **{one.name: one.sha256 for one in offered}})


def umask() -> int:
    """What is fetched may be read by whom the user's umask lets."""
    os.umask(mask := os.umask(0o077))
    return mask


def is_here(path: str, one: File, digest: Callable[[str], str]) -> bool:
    try:
        return os.lstat(path).st_size == one.size and digest(path) == one.sha256
    except OSError:
        return False


def fetch(transfer: Transfer, remote: str, path: str, one: File, total: Total, digest: Callable[[str], str]) -> None:
    """The file gets its name when its content is the offered one. What was resumed and differs is fetched once anew."""
    part, begun = f"{path}.part", total.done
    for _again in range(2):
        resumed = size_of(part) > 0
        transfer.bring(remote, part, one.size, total)
        if digest(part) == one.sha256:
            files.put(part, path)
            return
        files.remove(part)
        total.done = begun
        if not resumed:
            break
    raise OtherContentError(
        "the content that came is not what the host announced",
        found=f"{remote} ({one.size} bytes)",
        expected=f"sha256 {one.sha256}",
        remedy="fetch again; if it comes again, the file changes on the host: fetch another step",
    )
