"""Size of a model, part by part: from the headers of its folder, else the figures of BAGEL-7B-MoT. Pure.

The parts are those that flags freeze and that FSDP wraps (MathCanvas cc48f16: modeling/bagel, train/fsdp_utils.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

PARTS = ("llm", "vit", "connectors", "positions")  # of what FSDP wraps; the VAE stands beside it, frozen
PATHS = 2  # of a decoder layer: understanding and generation, each with linear layers of its own
SAME = 0.01  # of the user's number: so near, it is the model that was read
POSITIONS = ("latent_pos_embed.", "vit_pos_embed.")


@dataclass(frozen=True)
class Read:
    """Size of a model by its files. `problem`: why it could not be counted, else ""."""

    parts: Mapping[str, int] = field(default_factory=dict)  # parameters by part
    vae: int = 0  # parameters
    llm: Mapping[str, int] = field(default_factory=dict)  # the whole numbers of its config
    vit: Mapping[str, int] = field(default_factory=dict)
    source: str = ""  # the file
    problem: str = ""

    @property
    def parameters(self) -> int:
        return sum(self.parts.values())


@dataclass(frozen=True)
class Model:
    """Parameters of each part, and what the arithmetic of activations asks of the two configs."""

    llm: int
    vit: int
    connectors: int  # time_embedder, vae2llm, llm2vae, connector: what stays trained when llm and vit are frozen
    positions: int  # sinusoids: parameters that are never trained
    vae: int
    layers: int  # of the llm
    hidden: int
    intermediate: int
    vocabulary: int
    vit_layers: int
    vit_hidden: int
    keys: int = 512  # width of an attention's keys, and of its values
    source: str = "BAGEL-7B-MoT"  # where the figures come from

    @property
    def parameters(self) -> int:
        """All parameters that are saved, loaded and sharded: without the VAE."""
        return self.llm + self.vit + self.connectors + self.positions

    @property
    def embeddings(self) -> int:
        """Word embedding and output layer: with the loose connectors FSDP's root unit, gathered during a whole step."""
        return min(self.llm, 2 * self.vocabulary * self.hidden)

    @property
    def layer(self) -> int:
        """One decoder layer, the unit that FSDP gathers."""
        return (self.llm - self.embeddings) // max(1, self.layers)

    def adapters(self, targets: str) -> int:
        """Number of adapters of training_profile: lora: one for each target of both paths of each layer."""
        return PATHS * self.layers * len(self._targets(targets))

    def adapted(self, rank: int, targets: str) -> int:
        """Parameters of all adapters: rank × (in + out) each."""
        return PATHS * self.layers * rank * sum(self._targets(targets))

    def _targets(self, targets: str) -> list[int]:
        """in + out of each linear layer that gets an adapter."""
        attention = [2 * self.hidden, self.hidden + self.keys, self.hidden + self.keys, 2 * self.hidden]
        return attention + ([self.hidden + self.intermediate] * 3 if targets == "all" else [])

    def trained(self, *, freeze_llm: bool, freeze_vit: bool) -> int:
        """Parameters with gradient and optimizer state."""
        return self.connectors + (0 if freeze_llm else self.llm) + (0 if freeze_vit else self.vit)


# Computed with upstream's classes: 14,607,260,128 parameters, of which 14,575,018,464 are trained (contract of the
# code). The connectors: 256·h + h + h² + h, 2·(64·h) + h + 64, and 1152·h + h + h² + h, for h = 3584.
BAGEL = Model(
    llm=14_141_252_608,  # 28 layers of 466,116,096, twice 152,064 × 3,584, and a norm
    vit=402_552_736,  # 26 layers of 15,239,504, patches, positions and a norm
    connectors=31_213_120,
    positions=32_241_664,
    vae=83_819_683,
    layers=28,
    hidden=3584,
    intermediate=18944,
    vocabulary=152_064,
    vit_layers=26,
    vit_hidden=1152,
)


def part_of(tensor: str) -> str:
    """The part that a tensor of ema.safetensors belongs to, by its name."""
    if tensor.startswith("language_model."):
        return "llm"
    if tensor.startswith("vit_model."):
        return "vit"
    return "positions" if tensor.startswith(POSITIONS) else "connectors"


def count(tensors: Mapping[str, Iterable[int]]) -> dict[str, int]:
    """Parameters of each part, from name and shape of each tensor."""
    found = dict.fromkeys(PARTS, 0)
    for name, shape in tensors.items():
        number = 1
        for edge in shape:
            number *= edge
        found[part_of(name)] += number
    return found


def model_of(parameters: int, seen: Read | None) -> Model:
    """The model that is trained.

    The user's number counts; 0 leaves it to what was read. Without either: BAGEL-7B-MoT, its parts in proportion where
    the user gave another number.
    """
    counted = seen.parameters if seen else 0
    if seen and counted and (parameters == 0 or abs(counted - parameters) <= SAME * parameters):
        return _counted(seen)
    if parameters in (0, BAGEL.parameters):
        return BAGEL
    share = parameters / BAGEL.parameters
    llm, vit, connectors = (round(getattr(BAGEL, part) * share) for part in PARTS[:3])
    width = share ** (1 / 3)  # layers, width and inner width grow alike
    return replace(
        BAGEL,
        llm=llm,
        vit=vit,
        connectors=connectors,
        positions=parameters - llm - vit - connectors,
        vae=round(BAGEL.vae * min(1.0, share)),
        layers=max(1, round(BAGEL.layers * width)),
        hidden=max(1, round(BAGEL.hidden * width)),
        intermediate=max(1, round(BAGEL.intermediate * width)),
        keys=max(1, round(BAGEL.keys * width)),
        source=f"{parameters} parameters, in the proportions of BAGEL-7B-MoT",
    )


def _counted(seen: Read) -> Model:
    llm, vit = seen.llm, seen.vit
    hidden, heads, pairs = (
        llm.get(name) or 0 for name in ("hidden_size", "num_attention_heads", "num_key_value_heads")
    )
    return Model(
        **{part: seen.parts.get(part, 0) for part in PARTS},
        vae=seen.vae,
        layers=llm.get("num_hidden_layers") or BAGEL.layers,
        hidden=llm.get("hidden_size") or BAGEL.hidden,
        intermediate=llm.get("intermediate_size") or BAGEL.intermediate,
        vocabulary=llm.get("vocab_size") or BAGEL.vocabulary,
        vit_layers=vit.get("num_hidden_layers") or BAGEL.vit_layers,
        vit_hidden=vit.get("hidden_size") or BAGEL.vit_hidden,
        keys=hidden * pairs // heads if hidden and pairs and heads else BAGEL.keys,
        source="the header of its safetensors file",
    )
