"""Loads a model folder as inference does, by its own source; one line of JSON.

python load_export.py reasoner|app SOURCE FOLDER WEIGHTS, in the folder BAGEL-Canvas. `reasoner` runs setup_model of
mathcanvas_interleave_reasoner.py, `app` the lines of Bagel's app.py up to the loaded model. Without a GPU the words for
the device are replaced, and nothing else of the text.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

sys.path[:0] = [os.getcwd(), os.path.join(os.path.dirname(os.path.abspath(__file__)), "stubs")]

DEVICES = (
    (r'f"cuda:\{rank\}"', '"cpu"'),
    (r'"cuda:0"', '"cpu"'),
    (r"max_memory=\{.*?\}", 'max_memory={"cpu": "80GiB"}'),
    (r"device_map\.get\(same_device_modules\[0\](, \w+)?\)", '"cpu"'),
)


def here(text: str) -> str:
    import torch

    if torch.cuda.is_available():
        return text
    for pattern, words in DEVICES:
        text = re.sub(pattern, words, text)
    return text


def reasoner(source: Path, folder: str, weights: str) -> Any:
    text = here(source.read_text())
    begin = text.index("def setup_model")
    head = text[: text.index("def timestamp")].replace("from data_handlers import MathCanvasHandler, UniHandler", "")
    names: dict[str, Any] = {"__name__": "reasoner"}
    exec(compile(head + text[begin : text.index("class InterleaveReasoner")], str(source), "exec"), names)  # noqa: S102
    names["dist"] = SimpleNamespace(barrier=lambda: None)
    return names["setup_model"](folder, 0, weights, folder)[0]


def app(source: Path, folder: str, _weights: str) -> Any:
    text = here(source.read_text())
    sys.modules["gradio"] = ModuleType("gradio")
    sys.argv = ["app.py", "--model_path", folder]
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(text[: text.index("# Inferencer Preparing")], str(source), "exec"), names)  # noqa: S102
    return names["model"]


def main(way: str, source: str, folder: str, weights: str) -> None:
    import torch
    from safetensors.torch import load_file

    model = {"reasoner": reasoner, "app": app}[way](Path(source), folder, weights)
    there, given = model.state_dict(), load_file(os.path.join(folder, weights))
    parameters = dict(model.named_parameters())
    found = {
        "parameters": len(parameters),
        "missing": sorted(set(parameters) - set(given)),
        "unexpected": sorted(set(given) - set(there)),
        "empty": sorted(name for name, one in parameters.items() if one.is_meta),
        "different": sorted(
            name
            for name, one in given.items()
            if name in there and not torch.equal(there[name].cpu(), one.to(torch.bfloat16))
        ),
    }
    print(json.dumps(found))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(*sys.argv[1:])
