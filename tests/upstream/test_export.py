"""An export of a checkpoint that upstream's own main() saved, loaded by the code that inference runs.

Bagel's app.py comes from its own repository: CANVAS_BAGEL=<a checkout>, beside CANVAS_UPSTREAM.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import export_folder
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.export_choice import ExportSpec
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress

from demo.gpu_proof import starts
from tests.upstream.trainings import small, train

NONE: dict[str, list[str]] = {"missing": [], "unexpected": [], "empty": [], "different": []}


@pytest.fixture(scope="module")
def exported(upstream: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the average and of the model of a training of two steps."""
    root = tmp_path_factory.mktemp("export")
    starts.stand_in(root)
    base = small(upstream, root / "small")
    trained = train(starts.patched(upstream, root / "full", training_profile="full"), base, root / "out", steps=2)
    assert trained.code == 0, trained.text[-3000:]
    names = sorted(path.name for path in base.iterdir() if path.is_file())
    spec = ExportSpec(Place(str(root / "out/checkpoints"), str(root / "out/kept")), str(root / "out"), str(base), names)
    return {
        kind: Path(export_folder.make(replace(spec, kind=kind), "# A card\n", Progress())["path"])
        for kind in ("ema", "model")
    }


def loaded(upstream: Path, way: str, source: Path, folder: Path, weights: str) -> dict[str, Any]:
    argv = [sys.executable, str(Path(__file__).with_name("load_export.py")), way, str(source), str(folder), weights]
    done = subprocess.run(argv, cwd=upstream, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("kind", ["ema", "model"])
def test_upstreams_reasoner_loads_it_whole(upstream: Path, exported: dict[str, Path], kind: str) -> None:
    source = upstream / "mathcanvas_interleave_reasoner.py"
    found = loaded(upstream, "reasoner", source, exported[kind], "ema.safetensors")
    assert found == {**found, **NONE}
    assert found["parameters"] > 100


@pytest.mark.skipif(not os.environ.get("CANVAS_BAGEL"), reason="CANVAS_BAGEL names no checkout of Bagel")
@pytest.mark.parametrize("kind", ["ema", "model"])
def test_bagels_app_loads_it_whole(upstream: Path, exported: dict[str, Path], kind: str) -> None:
    source = Path(os.environ["CANVAS_BAGEL"]) / "app.py"
    found = loaded(upstream, "app", source, exported[kind], "ema.safetensors")
    assert found == {**found, **NONE}
    assert found["parameters"] > 100
