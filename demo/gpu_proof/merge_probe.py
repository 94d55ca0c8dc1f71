"""The merge of a checkpoint of adapters, at the size that lies there; and what upstream's class says of such a file.

python -m demo.gpu_proof.merge_probe merge BASE ADAPTER OUT
python -m demo.gpu_proof.merge_probe load BAGEL_CANVAS FOLDER
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import merge, merge_check


def load(canvas: str, folder: str) -> None:
    """The trainer's own model takes the weights of `folder` as upstream's loaders do; the file stays where it is."""
    sys.path[:0] = [canvas, str(Path(__file__).parent)]
    import small_model
    from safetensors.torch import load_file

    model = small_model.build(Path(folder), "meta")
    weights = load_file(str(Path(folder) / "ema.safetensors"))
    wrong = [
        name for name, value in model.state_dict().items() if name in weights and value.shape != weights[name].shape
    ]
    keys = model.load_state_dict(weights, strict=False, assign=True)
    found = {"tensors": len(weights), "missing": keys.missing_keys, "unexpected": keys.unexpected_keys}
    print(json.dumps({**found, "other shapes": wrong}))


def merged(base: str, adapter: str, out: str) -> None:
    begin = time.monotonic()
    with merge.opened(base) as weights, merge.opened(adapter) as adapters:
        merge.check(weights, adapters)
        with Path(out).open("wb") as file:
            made = merge.merge(weights, adapters, file, lambda done, of: None)
        seconds = time.monotonic() - begin
        with merge.opened(out) as merged:
            sampled = merge_check.check(weights, adapters, merged)
            same = merged.header.tensors == weights.header.tensors and merged.size == weights.size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    found = {"merge, s": round(seconds, 1), "host, GB": round(memory, 2), "the base's header and size": same}
    print(json.dumps({**found, **dataclasses.asdict(made), "sampled": str(sampled)}))


if __name__ == "__main__":
    {"merge": merged, "load": load}[sys.argv[1]](*sys.argv[2:])
