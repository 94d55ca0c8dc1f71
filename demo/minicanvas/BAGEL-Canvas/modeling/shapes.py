"""Names and shapes of every tensor of the tiny model, without torch: the model folder is written from this list."""

from __future__ import annotations

from typing import Any

PICTURE = (24, 32)  # pixels, height by width, of what the model sees of any picture
PATCH = 8  # pixels
PATCHES = (PICTURE[0] // PATCH) * (PICTURE[1] // PATCH)
LATENT = 18  # numbers of one patch in the latent space: 6 frequencies × 3 colours
TIME_FEATURES = 32
SLOWEST = 1000.0  # positions in which the slowest of the marks of a position turns by one radian
MARKED = 0.2  # how large these marks are beside a token's own numbers

Shapes = dict[str, tuple[int, ...]]


def _linear(name: str, fan_out: int, fan_in: int) -> Shapes:
    return {f"{name}.weight": (fan_out, fan_in), f"{name}.bias": (fan_out,)}


def _layer(name: str, hidden: int, inner: int) -> Shapes:
    return {
        f"{name}.input_layernorm.weight": (hidden,),
        **_linear(f"{name}.self_attn.qkv_proj", 3 * hidden, hidden),
        **_linear(f"{name}.self_attn.o_proj", hidden, hidden),
        f"{name}.post_attention_layernorm.weight": (hidden,),
        **_linear(f"{name}.mlp.up_proj", inner, hidden),
        **_linear(f"{name}.mlp.down_proj", hidden, inner),
    }


def model_shapes(llm: dict[str, Any], vit: dict[str, Any]) -> Shapes:
    """The tensors of ema.safetensors and model.safetensors, from llm_config.json and vit_config.json."""
    hidden, vocab, vision = llm["hidden_size"], llm["vocab_size"], vit["hidden_size"]
    shapes: Shapes = {"language_model.model.embed_tokens.weight": (vocab, hidden)}
    for number in range(llm["num_hidden_layers"]):
        shapes |= _layer(f"language_model.model.layers.{number}", hidden, llm["intermediate_size"])
    return {
        **shapes,
        "language_model.model.norm.weight": (hidden,),
        **_linear("language_model.lm_head", vocab, hidden),
        **_linear("time_embedder.first", hidden, TIME_FEATURES),
        **_linear("time_embedder.second", hidden, hidden),
        **_linear("vae2llm", hidden, LATENT),
        **_linear("llm2vae", LATENT, hidden),
        "latent_pos_embed.pos_embed": (PATCHES, hidden),
        **_linear("vit_model.patch_embedding", vision, 3 * PATCH * PATCH),
        **_linear("connector.first", hidden, vision),
        **_linear("connector.second", hidden, hidden),
        "vit_pos_embed.pos_embed": (PATCHES, hidden),
    }


def autoencoder_shapes() -> Shapes:
    """The tensors of ae.safetensors: one linear map of a patch to its latent, and the latents' means and scales."""
    return {"encoder.weight": (LATENT, 3 * PATCH * PATCH), "latent.mean": (LATENT,), "latent.scale": (LATENT,)}
