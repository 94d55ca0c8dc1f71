"""The guard, called by the supervisor before a start, after each save, while the training runs, and at its end.

The spec is the unit's own (JSON): unit, run, results_dir, checkpoint_dir, kept_dir, profile, shards, nnodes,
node_rank, hosts, master_addr, peer_port, peer_networks, auto_resume, save_every, keep_last, keep_every, addresses (in
rank order; else hosts), shared_checkpoints (all see one folder), checkpoint_bytes, owned (other variables' paths). The
run's secret is a credential of the unit (peers/secret.py).
after_save() may wait for minutes while a big save goes to the disk: call it in a thread; close() ends the wait.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..checkpoints import digests as checkpoint_digests
from ..checkpoints import guard as checkpoint_guard
from ..checkpoints import rotation as checkpoint_rotation
from ..checkpoints import seal as checkpoint_seal
from ..checkpoints.seal import Place, Say
from ..core.errors import FleetError
from ..peers import group as peers
from ..peers.server import Heartbeat, Server
from ..trainer import checkpoint as checkpoints
from ..trainer.checkpoint import Checkpoint

SAVE_TIMEOUT = 900.0  # seconds until a save that was announced must be whole
REST = 0.5  # seconds in which its files may not change
Spec = Mapping[str, Any]

_ended = threading.Event()
_busy = threading.Lock()  # whoever changes what is kept
_digesting = threading.Lock()
_heartbeat = Heartbeat()
_server: Server | None = None


def place_of(spec: Spec) -> Place:
    """The run's folders: checkpoints, and what is kept of them."""
    folder = os.path.normpath(str(spec["checkpoint_dir"]))
    kept = str(spec.get("kept_dir") or "")
    return Place(folder, checkpoint_seal.kept_dir_of(str(spec["results_dir"]), folder, kept))


def before_start(spec: Spec, say: Say) -> None:
    """Make the newest whole checkpoint the one that the trainer resumes from, the same on all nodes of the run.

    Raises FleetError when that cannot be. While it waits for other nodes or copies a checkpoint, it says something at
    least every half a minute; close() from another thread ends the wait.
    """
    _ended.clear()
    place, node_group = place_of(spec), peers.node_group_of(spec)
    target = None
    checkpoint_guard.refuse_owned(place, spec.get("owned") or {})
    try:
        if node_group.rank and node_group.port:
            target = peers.join(node_group, place, say, _ended.wait)
        else:
            if node_group.resume:
                every = _int(spec, "save_every")
                target = checkpoint_guard.prepare(place, node_group.shards, every, say, node_group.profile)
            if node_group.nnodes > 1 and node_group.port:
                _lead(spec, node_group, place, target, say)
    except OSError as error:
        raise FleetError(
            "the checkpoints could not be prepared for a start",
            found=f"{error.strerror}: {error.filename or place.checkpoints}",
            expected="folders that the training may write to, and space on the disk",
        ) from error
    if not node_group.resume:
        say("auto_resume is off: the checkpoints are left as they are")
    else:
        say(f"resumes from step {target.step}" if target else "no checkpoint: begins with the first step")


def _lead(spec: Spec, node_group: peers.NodeGroup, place: Place, target: Checkpoint | None, say: Say) -> None:
    """The first node's part: offer its checkpoint, and wait for the others."""
    global _server
    if _server is None:
        _heartbeat.reads(os.path.join(str(spec["results_dir"]), "log.txt"))
        _server = peers.serve(node_group, spec.get("peer_networks") or (), _heartbeat, say)
    peers.gather(_server, peers.offer_of(node_group, place, target), node_group, say, _ended.wait)


def after_save(spec: Spec, step: int, say: Say) -> None:
    """Seal the save of `step` once it is whole and rests, and let go of older links. Never raises."""
    place = place_of(spec)
    with _busy:
        try:
            if not _rests(place, step, float(spec.get("save_timeout") or SAVE_TIMEOUT)):
                say(f"step {step} was not sealed: {_why(place, step)}")
                return
            if checkpoint_guard.keep(place, step, place.folder(step), say):
                checkpoint_rotation.rotate(place, step, _int(spec, "keep_last"), _int(spec, "keep_every"), say)
                threading.Thread(target=_digest, args=(place, step, say), daemon=True).start()
        except (OSError, FleetError) as error:
            say(f"step {step} could not be kept: {error}")


def _digest(place: Place, step: int, say: Say) -> None:
    """One save after the other, beside the training."""
    checkpoint_digests.step_back()
    with _digesting, contextlib.suppress(OSError):
        checkpoint_digests.fill(place, step, _busy, _ended.is_set, say)


def low_disk(spec: Spec) -> str:
    """A sentence when the next save would not fit on the disk; "" when it does."""
    return checkpoint_rotation.low_disk(place_of(spec))


def note(phase: str, step: int | None) -> None:
    """Report the state of the first node's trainer; peer_state() gives it to the other nodes."""
    _heartbeat.note(phase, step)


def lost_peers() -> list[int]:
    """On the first node: ranks whose part in the present attempt has ended. The step that waits for them never ends."""
    offer = _server.offer if _server else None
    return sorted(offer.lost) if offer else []


def peer_state(spec: Spec) -> dict[str, Any] | None:
    """On nodes of rank > 0: {"attempt", "same", "phase", "step", "age"} of the first node, None when it is not reached.

    step: the last one that came there, `age` seconds ago. same: False when the first node has begun another attempt,
    so this node's trainer waits for dead processes. Returns within about 5 s.
    """
    node_group = peers.node_group_of(spec)
    return peers.alive(node_group, place_of(spec)) if node_group.rank and node_group.port else None


def close() -> None:
    """The training has ended or will end: stop waiting, and stop answering the other nodes."""
    global _server
    _ended.set()
    server, _server = _server, None
    if server is not None:
        server.close()


def _rests(place: Place, step: int, timeout: float, now: Callable[[], float] = time.monotonic) -> bool:
    """Wait up to `timeout` seconds until the save is whole and unchanged twice in a row."""
    until, before = now() + timeout, None
    while True:
        found = checkpoints.examine(place.folder(step), step)
        if found.kind == "model":
            return False  # a later save has taken its .pt files: there is nothing left to wait for
        seen = _stamps(place.folder(step)) if found.whole else None
        if seen is not None and seen == before:
            return True
        if now() >= until or _ended.wait(REST):
            return False
        before = seen


def _stamps(folder: str) -> list[tuple[str, int, int]] | None:
    try:
        infos = [(name, os.stat(f"{folder}/{name}")) for name in checkpoint_seal.names_of(folder)]
    except OSError:
        return None
    return [(name, info.st_size, info.st_mtime_ns) for name, info in infos]


def _why(place: Place, step: int) -> str:
    if _ended.is_set():
        return "the training ended first"
    return "; ".join(checkpoints.examine(place.folder(step), step).flaws[:3]) or "it was still being written"


def _int(spec: Spec, name: str) -> int:
    return int(spec.get(name) or 0)
