"""The merge of a checkpoint of adapters, at the size that lies there: seconds and memory.

python -m demo.gpu_proof.merge_probe BASE ADAPTER OUT
"""

from __future__ import annotations

import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.checkpoints import merge, merge_check


def main(base: str, adapter: str, out: str) -> None:
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
    main(*sys.argv[1:])
