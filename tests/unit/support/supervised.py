"""A supervisor with the stand-in for the trainer, as processes, without systemd: its protocol is read from a socket."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.canvas.fleet.plugins.module_utils.peers.secret import CREDENTIAL
from ansible_collections.canvas.fleet.plugins.module_utils.roles.training import payload as supervisor_spec

from tests.unit.support.places import FIXTURES

STANDIN = FIXTURES / "trainer" / "standin.py"
LIMITS = {"load_seconds": 20, "first_step_seconds": 20, "save_seconds": 20, "step_seconds": 1.0}


class Supervised:
    """One record folder; start() as often as it takes."""

    def __init__(self, folder: Path, script: str = "", **spec: Any) -> None:
        self.folder, self.results = folder, folder / "out"
        self.checkpoints, self.own = self.results / "checkpoints", folder / "record" / "own"
        self.checkpoints.mkdir(parents=True)
        self.own.mkdir(parents=True)
        self.credentials = folder / "credentials"
        self.credentials.mkdir()
        (self.credentials / CREDENTIAL).write_text("5e" * 32 + "\n")
        self.payload = folder / "supervisor.pyz"
        self.payload.write_bytes(supervisor_spec.payload()[1])
        self.script = folder / "train.sh"
        if script:
            self.script.write_text(script)
        self.spec: dict[str, Any] = {
            "unit": "canvas-training-atlas", "run": "atlas", "script": str(self.script), "working_dir": str(folder),
            "results_dir": str(self.results), "checkpoint_dir": str(self.checkpoints), "kept_dir": "",
            "record": str(folder / "record"), "shards": 2, "nnodes": 1, "node_rank": 0, "hosts": ["atlas"],
            "auto_resume": True, "save_every": 20, "total_steps": 100, **LIMITS, "keep_last": 0,
            "keep_every": 0, "restarts": 3, "stop": "after_save", "stop_seconds": 20, "weights_expected": True,
            "grace": 0.5, **spec,
        }  # fmt: skip
        self.messages: list[tuple[float, str]] = []
        self.output: list[str] = []

    def standin(self, flags: str = "--step-seconds 0.02") -> Supervised:
        words = [sys.executable, STANDIN, "--results", self.results, "--checkpoints", self.checkpoints]
        self.script.write_text(f"#!/bin/bash\nexec {shlex.join(map(str, words))} {flags}\n")
        return self

    def start(self) -> Supervised:
        path = self.folder / "spec.json"
        path.write_text(json.dumps(self.spec))
        address = f"\0supervised-{os.getpid()}-{time.monotonic_ns()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        threading.Thread(target=self._receive, args=(self._socket,), daemon=True).start()
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(self.payload), str(path)],
            env={
                **os.environ,
                "NOTIFY_SOCKET": "@" + address[1:],
                "INVOCATION_ID": "ab",
                "CREDENTIALS_DIRECTORY": str(self.credentials),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        return self

    def _receive(self, source: socket.socket) -> None:
        while True:
            try:
                text = source.recv(4096).decode()
            except OSError:
                return
            self.messages += [(time.monotonic(), line) for line in text.splitlines()]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.output += list(process.stdout)

    def end(self, seconds: float = 30) -> int:
        try:
            code = self.process.wait(seconds)
        finally:
            self.process.kill()
            self._socket.close()
        time.sleep(0.05)
        return code

    def send(self, number: signal.Signals) -> float:
        self.process.send_signal(number)
        return time.monotonic()

    def said(self, word: str) -> list[float]:
        """When a message with this beginning came."""
        return [at for at, line in self.messages if line.startswith(word)]

    def seconds(self, word: str) -> list[float]:
        """The limits that were announced by messages with this beginning."""
        return [int(line[len(word) :]) / 1e6 for _, line in self.messages if line.startswith(word)]

    def statuses(self) -> list[str]:
        return [line[7:] for _, line in self.messages if line.startswith("STATUS=")]

    def record(self, name: str) -> dict[str, Any]:
        path = self.own / name
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def step(self) -> int:
        """The newest step line in the trainer's own log."""
        log = self.results / "log.txt"
        lines = [line for line in log.read_text().splitlines() if "(step=" in line] if log.exists() else []
        return int(lines[-1].split("(step=")[1][:7]) if lines else -1

    def ranks(self) -> list[int]:
        """Process numbers of this trainer's ranks."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode().split("\0")
            except OSError:
                continue
            if "--rank" in words and str(self.results) in words:
                found.append(int(path.parent.name))
        return sorted(found)


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)
