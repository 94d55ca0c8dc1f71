"""Writes a random model of the real classes in the real layout, small enough for a minute's training on one GPU.

    python small_model.py BAGEL_CANVAS TOKENIZER OUT [HIDDEN LAYERS SEED]

Run by the training environment's python, since it builds the classes of the deployed code (BAGEL_CANVAS, its folder) as
its trainer does. TOKENIZER is a folder with vocab.json, merges.txt and tokenizer_config.json. Prints one line of JSON:
parameters, and how many of them the profile `frozen` trains.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

HEAD = 64  # width of an attention head: what flex attention is compiled for


def llm_config(hidden: int, layers: int, vocabulary: int) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_act": "silu",
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 32768,
        "model_type": "qwen2",
        "num_attention_heads": hidden // HEAD,
        "num_hidden_layers": layers,
        "num_key_value_heads": max(1, hidden // HEAD // 2),
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary,
    }


def vit_config() -> dict[str, Any]:
    return {
        "hidden_size": 144,
        "image_size": 980,
        "intermediate_size": 288,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 2,
        "num_hidden_layers": 3,
        "patch_size": 14,
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def build(out: Path, device: Any) -> Any:
    """The trainer's own model, from the configs in `out`, with random weights; on the meta device without any."""
    import torch
    from modeling.autoencoder import load_ae
    from modeling.bagel import Bagel, BagelConfig, Qwen2Config, Qwen2ForCausalLM, SiglipVisionConfig, SiglipVisionModel
    from safetensors.torch import save_file

    vae, vae_config = load_ae(local_path=None)
    save_file({name: value.contiguous() for name, value in vae.state_dict().items()}, str(out / "ae.safetensors"))
    llm = Qwen2Config.from_json_file(str(out / "llm_config.json"))
    llm.layer_module, llm.qk_norm, llm.tie_word_embeddings, llm.freeze_und = "Qwen2MoTDecoderLayer", True, False, False
    vit = SiglipVisionConfig.from_json_file(str(out / "vit_config.json"))
    vit.num_hidden_layers -= 1  # the trainer leaves the last layer out (vit_select_layer -2)
    vit.rope = False
    with torch.device(device):
        language_model = Qwen2ForCausalLM(llm)
        config = BagelConfig(llm_config=llm, vit_config=vit, vae_config=vae_config, max_latent_size=64)
        model = Bagel(language_model, SiglipVisionModel(vit), config)
        model.vit_model.vision_model.embeddings.convert_conv2d_to_linear(vit)
    if device != "meta":
        language_model.init_moe()
    return model


def main(canvas: str, tokenizer: str, folder: str, hidden: str = "256", layers: str = "4", seed: str = "0") -> None:
    sys.path.insert(0, canvas)
    import torch
    from data.data_utils import add_special_tokens
    from modeling.qwen2 import Qwen2Tokenizer
    from safetensors.torch import save_file

    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"):
        shutil.copy(Path(tokenizer) / name, out / name)
    torch.manual_seed(int(seed))
    words, _, _ = add_special_tokens(Qwen2Tokenizer.from_pretrained(str(out)))
    write_json(out / "llm_config.json", llm_config(int(hidden), int(layers), len(words)))
    write_json(out / "vit_config.json", vit_config())
    write_json(out / "config.json", {"model_type": "bagel"})
    model = build(out, "cpu")
    state = {name: value.to(torch.bfloat16).contiguous() for name, value in model.state_dict().items()}
    save_file(state, str(out / "ema.safetensors"), metadata={"format": "pt"})
    connectors = [
        value for name, value in model.named_parameters() if not name.startswith(("language_model", "vit_model"))
    ]
    print(
        json.dumps(
            {"parameters": sum(v.numel() for v in state.values()), "connectors": sum(v.numel() for v in connectors)}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
