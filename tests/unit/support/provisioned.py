"""A host that all roles worked on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.roles.canvas_code import apply as code_apply
from ansible_collections.canvas.fleet.plugins.module_utils.roles.dataset import record as dataset_record
from ansible_collections.canvas.fleet.plugins.module_utils.roles.fleet_agent import work as fleet_agent_work
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import observe as weights
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import record as weights_record
from ansible_collections.canvas.fleet.plugins.module_utils.system import digests
from ansible_collections.canvas.fleet.plugins.module_utils.teardown import apply as teardown

from tests.unit.support import canvas_repo, run_settings, run_texts, saves
from tests.unit.work.test_runner import FakeUnits

EVERYTHING = ["checkpoints", "data", "edits", "nvidia", "weights"]


class Host:
    """A machine whose folders lie below tmp_path: host/ is fleet_root, state/ the records."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.fleet = root, root / "host"
        self.upstream = canvas_repo.prepared(root, monkeypatch)
        monkeypatch.setattr(fleet_agent_work, "TRUST", {str(root / "certificates"): ("touch", str(root / "refreshed"))})
        self.settings = {
            **run_settings.settings(self.fleet),
            **canvas_repo.settings(root, self.upstream.two),
            "fleet_root": str(self.fleet),
            "fleet_user": "nobody-of-this-machine",
            "fleet_agent_dir": f"{root}/state/agent",
            "fleet_teardown_include": [],
            "dataset_source": "url",
            "dataset_train": "http://here/train.parquet",
            "dataset_output_dir": f"{self.fleet}/BlockMovingSFT/data/output",
            "dataset_train_file": f"{self.fleet}/BlockMovingSFT/train/train_split.parquet",
            "training_unit": "canvas-training-atlas",
            "training_kept_dir": "",
            "conda_env_root": f"{self.fleet}/miniforge3",
            "conda_env_state_dir": f"{root}/state/conda_env",
        }
        self.fleet.mkdir()
        code_apply.converge(self.settings, check=False)
        self._data()
        run_texts.converge(self.settings, run_settings.topology(), "key")
        self._weights({"ema.safetensors": "fetched", "config.json": "adopted"})
        saves.save(Path(self.settings["training_checkpoint_dir"]), 20)
        (self.fleet / "outputs/atlas/log.txt").write_text("[x] step\n")
        store = root / "state/agent.d/one"
        store.mkdir(parents=True)
        (root / "state/agent").symlink_to(store)
        self.write(self.fleet / "outputs/atlas/.cache/triton/kernel.so", "x")
        for name in ("work/weights/spec.json", "training/canvas-training-atlas/own/state.json", "supervisor/1.pyz"):
            self.write(root / "state" / name, "{}")
        self.write(root / "certificates/canvas-fleet-1.crt", "pem")
        self.write(root / "certificates/of-the-company.crt", "pem")

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def _data(self) -> None:
        paths = dataset_record.layout(self.settings)
        known: dict[str, Any] = {}
        for path, text in (
            (paths.originals["train"], "rows as they came"),
            (paths.train_file, "rows in groups"),
            (paths.info_path, dataset_record.info_text(paths, 16, 613)),
        ):
            self.write(path, text)
            dataset_record.own(known, path, digests.of_file(path))
        paths.record_path.parent.mkdir(parents=True)
        dataset_record.save(paths.record_path, known)

    def _weights(self, files: dict[str, str]) -> None:
        folder, entries = Path(self.settings["weights_dir"]), {}
        for name, origin in files.items():
            stamp = weights.stamp(self.write(folder / name, name))
            entries[name] = {**(stamp or {}), "sha256": "0", "origin": origin}
        record = weights_record.path(self.settings)
        self.write(record, "")
        dataset_record.save(record, {"files": entries})

    def teardown(self, *also: str, check: bool = False) -> dict[str, Any]:
        settings = {**self.settings, "fleet_teardown_include": list(also)}
        return teardown.work(settings, FakeUnits(), check=check)

    def files(self) -> list[str]:
        """All files in fleet_root without git's own."""
        found = (path for path in self.fleet.rglob("*") if not path.is_dir() and ".git" not in path.parts)
        return sorted(str(path.relative_to(self.fleet)) for path in found)

    def tree(self) -> dict[str, bytes]:
        paths = (path for path in self.root.rglob("*") if path.is_file() and "upstream" not in path.parts)
        return {str(path): path.read_bytes() for path in paths}


def kept(report: dict[str, Any]) -> dict[str, str]:
    """Word by file name of what stays."""
    return {os.path.basename(part["path"]): part["also"] for part in report["kept"]}
