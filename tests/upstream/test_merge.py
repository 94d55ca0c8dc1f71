"""A model merged from adapters that upstream's own main() trained, loaded by upstream's own classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import model_folder
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.model_folder import MergeSpec
from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints.seal import Place
from ansible_collections.canvas.fleet.plugins.module_utils.core.progress import Progress

from demo.gpu_proof import starts
from tests.upstream.trainings import small, train

LORA = ["--freeze_llm", "True", "--freeze_vit", "True", "--fleet_lora_rank", "4", "--fleet_lora_alpha", "8"]
KEYS = r"_IncompatibleKeys\(missing_keys=\[(.*?)\], unexpected_keys=\[(.*?)\]\)"


@pytest.fixture(scope="module", autouse=True)
def packages(tmp_path_factory: pytest.TempPathFactory) -> None:
    starts.stand_in(tmp_path_factory.mktemp("packages"))


def test_the_merged_folder_is_a_model_to_upstream(upstream: Path, tmp_path: Path) -> None:
    base = small(upstream, tmp_path / "small")
    lora = starts.patched(upstream, tmp_path / "lora", training_profile="lora")
    trained = train(lora, base, tmp_path / "out", *LORA, "--lr", "0.01", steps=2)
    assert trained.code == 0, trained.text[-3000:]
    place = Place(str(tmp_path / "out/checkpoints"), str(tmp_path / "out/kept"))
    names = sorted(path.name for path in base.iterdir() if path.is_file())
    done = model_folder.make(MergeSpec(place, str(tmp_path / "out"), str(base), names), Progress())
    assert done["step"] == 2
    assert done["swallowed"] < 0.05

    frozen = starts.patched(upstream, tmp_path / "frozen", training_profile="frozen")
    words = ["--freeze_llm", "True", "--freeze_vit", "True", "--lr", "0.0"]
    after, before = (
        train(frozen, model, tmp_path / name, *words, steps=0)
        for name, model in (("after", Path(done["path"])), ("before", base))
    )
    assert after.code == before.code == 0, after.text[-3000:]
    found, as_before = (re.findall(KEYS, one.text) for one in (after, before))
    assert found == as_before
    assert set(found) == {("'latent_pos_embed.pos_embed', 'vit_pos_embed.pos_embed'", "")}
    assert after.losses[0] != before.losses[0]
