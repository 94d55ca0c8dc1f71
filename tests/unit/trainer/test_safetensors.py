"""The header of a safetensors file, from a file and from a server, and what it says of a model's size."""

from __future__ import annotations

import json
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import decide as weights_plan
from ansible_collections.canvas.fleet.plugins.module_utils.roles.weights import headers as model_files
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.model import BAGEL, PARTS, Read, count, model_of
from ansible_collections.canvas.fleet.plugins.module_utils.trainer.safetensors import Tensor, from_file
from hypothesis import given
from hypothesis import settings as unhurried
from hypothesis import strategies as st
from safetensors.numpy import save_file

TENSORS = {
    "language_model.model.embed_tokens.weight": (512, 96),
    "language_model.lm_head.weight": (512, 96),
    "vit_model.vision_model.encoder.layers.0.mlp.fc1.weight": (384, 96),
    "connector.fc1.weight": (96, 96),
    "time_embedder.mlp.0.bias": (96,),
    "llm2vae.bias": (64,),
    "latent_pos_embed.pos_embed": (4096, 96),
    "vit_pos_embed.pos_embed": (4900, 96),
}
SIZES = {
    "llm": 2 * 512 * 96,
    "vit": 384 * 96,
    "connectors": 96 * 96 + 96 + 64,
    "positions": (4096 + 4900) * 96,
}


def model_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    tensors = {name: np.zeros(shape, np.float16) for name, shape in TENSORS.items()}
    save_file(tensors, folder / "ema.safetensors", metadata={"format": "pt"})
    save_file({"encoder.conv_in.weight": np.zeros((128, 3, 3, 3), np.float32)}, folder / "ae.safetensors")
    (folder / "llm_config.json").write_text(json.dumps({"hidden_size": 96, "num_hidden_layers": 2, "vocab_size": 512}))
    (folder / "vit_config.json").write_text("{")  # cut: it is not needed
    return folder


def test_a_file_is_counted_part_by_part_without_its_data(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    header = from_file(str(folder / "ema.safetensors"))
    assert count(header.shapes) == SIZES
    assert header.parameters == sum(SIZES.values())
    assert header.size == (folder / "ema.safetensors").stat().st_size
    assert header.tensors["llm2vae.bias"] == Tensor("F16", (64,))
    assert header.tensors["llm2vae.bias"].bytes == 128


KINDS = ("float64", "float32", "float16", "int64", "int32", "int16", "int8")
UNSIGNED = ("uint64", "uint32", "uint16", "uint8", "bool")


@pytest.mark.parametrize("kind", [*KINDS, *UNSIGNED])
def test_a_tensor_of_each_kind_has_the_bytes_that_lie_in_the_file(tmp_path: Path, kind: str) -> None:
    tensor = np.zeros((3, 5), dtype=kind)
    save_file({"t": tensor}, tmp_path / "one.safetensors")
    header = from_file(str(tmp_path / "one.safetensors"))
    assert header.tensors["t"].bytes == tensor.nbytes
    assert header.size == (tmp_path / "one.safetensors").stat().st_size


def test_a_model_folder_is_seen_with_its_configs(tmp_path: Path) -> None:
    model_folder(tmp_path / "model")
    seen = model_files.observe({"weights_dir": str(tmp_path / "model")})
    model = model_of(0, seen)
    assert (model.parameters, model.vae, model.vocabulary) == (sum(SIZES.values()), 128 * 27, 512)
    assert (model.layers, model.hidden, model.vit_layers) == (2, 96, BAGEL.vit_layers)
    assert model.trained(freeze_llm=True, freeze_vit=True) == SIZES["connectors"]


def test_without_weights_nothing_is_known(tmp_path: Path) -> None:
    assert model_files.observe({"weights_dir": str(tmp_path / "model")}) is None


def test_a_broken_file_is_told_and_raises_nothing(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "ema.safetensors").write_bytes(b"")
    seen = model_files.observe({"weights_dir": str(folder)})
    assert seen is not None
    assert seen.parts == {}
    assert "is no safetensors file" in seen.problem
    assert model_of(0, seen) == BAGEL


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="an empty file"),
        pytest.param(b"\x10\0\0\0", id="cut in its length"),
        pytest.param(struct.pack("<Q", 100) + b'{"a"', id="cut in its header"),
        pytest.param(struct.pack("<Q", 2**60) + b"{}", id="a length that is none"),
        pytest.param(struct.pack("<Q", 9) + b'{"a": []}', id="a header of another form"),
        pytest.param(struct.pack("<Q", 2) + b"[]", id="no mapping"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", id="a pointer of git LFS"),
        pytest.param(
            struct.pack("<Q", 51) + b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,1]}}'[:51], id="a cut shape"
        ),
    ],
)
def test_what_is_no_safetensors_file_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(FleetError, match="is no safetensors file"):
        from_file(str(path))


@unhurried(deadline=None)  # a busy machine is no failure
@given(content=st.binary(max_size=64))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    with suppress(FleetError):
        assert from_file(str(path)).parameters >= 0


def test_bagel_is_counted_from_its_shapes() -> None:
    """One decoder layer from its shapes, and the whole from the layers: 14,607,260,128."""
    hidden, inner, keys, vocabulary = 3584, 18944, 512, 152_064
    layer = {
        f"language_model.model.layers.0.{part}{expert}.{kind}": shape
        for expert in ("", "_moe_gen")
        for part, kind, shape in (
            ("self_attn.q_proj", "weight", (hidden, hidden)),
            ("self_attn.q_proj", "bias", (hidden,)),
            ("self_attn.k_proj", "weight", (keys, hidden)),
            ("self_attn.k_proj", "bias", (keys,)),
            ("self_attn.v_proj", "weight", (keys, hidden)),
            ("self_attn.v_proj", "bias", (keys,)),
            ("self_attn.o_proj", "weight", (hidden, hidden)),
            ("self_attn.q_norm", "weight", (128,)),
            ("self_attn.k_norm", "weight", (128,)),
            ("mlp.gate_proj", "weight", (inner, hidden)),
            ("mlp.up_proj", "weight", (inner, hidden)),
            ("mlp.down_proj", "weight", (hidden, inner)),
            ("input_layernorm", "weight", (hidden,)),
            ("post_attention_layernorm", "weight", (hidden,)),
        )
    }
    assert count(layer)["llm"] == 466_116_096
    assert BAGEL.llm == 28 * 466_116_096 + 2 * vocabulary * hidden + 2 * hidden
    assert BAGEL.parameters == 14_607_260_128
    assert BAGEL.layer == pytest.approx(466_116_096, rel=1e-5)


@given(parameters=st.integers(1, 10**12))
def test_a_model_of_another_size_has_bagels_proportions(parameters: int) -> None:
    model = model_of(parameters, None)
    assert model.parameters == parameters
    assert all(getattr(model, part) >= 0 for part in PARTS[:3])


@pytest.mark.parametrize(("times", "edge"), [(8, 2), (1 / 8, 1 / 2)], ids=["eight times as many", "an eighth"])
def test_layers_and_widths_of_another_size_grow_alike(times: float, edge: float) -> None:
    model = model_of(round(BAGEL.parameters * times), None)
    for name in ("layers", "hidden", "intermediate", "keys"):
        assert getattr(model, name) == getattr(BAGEL, name) * edge, name
    assert (model.llm, model.vit) == (round(BAGEL.llm * times), round(BAGEL.vit * times))
    assert model.vae == round(BAGEL.vae * min(1, times)), "the VAE is not trained, and no larger one is known"
    assert model.vocabulary == BAGEL.vocabulary


@pytest.mark.parametrize(
    ("parts", "told", "found"),
    [
        pytest.param({"llm": 90, "connectors": 10}, 100, None, id="the user's number is the model's"),
        pytest.param({"llm": 9_000, "connectors": 10}, 9_000, None, id="a few more than told change nothing"),
        pytest.param({"llm": 90, "connectors": 10}, 0, None, id="left to the model"),
        pytest.param({"llm": 90, "connectors": 10}, 14_607_260_128, "14607260128", id="the default, another model"),
        pytest.param({}, 14_607_260_128, None, id="nothing there yet"),
        pytest.param({}, 0, "no answer", id="left to the model, whose file is not there"),
    ],
)
def test_a_count_that_cannot_be_right_is_a_finding(parts: dict[str, int], told: int, found: str | None) -> None:
    model = Read(parts, source="/m/ema.safetensors", problem="" if parts else "no answer")
    made = weights_plan.judge_size(model, {"weights_parameters": told})
    assert [one.code for one in made] == (["WEIGHTS_SIZE_UNSURE"] if found else [])
    assert found is None or found in made[0].found
