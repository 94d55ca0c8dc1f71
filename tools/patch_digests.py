"""Writes trainer/patch_digests.py: the digest of each patched file with each stack of patches that settings can want.

    PYTHONPATH=collections .venv/bin/python -m tools.patch_digests MATHCANVAS…

Each MATHCANVAS is a folder BAGEL-Canvas at one of the known commits, unpatched. A file with another digest is refused.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from ansible_collections.canvas.fleet.plugins.module_utils.core.settings import Settings
from ansible_collections.canvas.fleet.plugins.module_utils.system.digests import sha256
from ansible_collections.canvas.fleet.plugins.module_utils.trainer import known, patch_table

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "plugins/module_utils/trainer/patch_digests.py"
CHOICES = {
    "training_profile": tuple(patch_table.PROFILES),
    "run_config_ema": (1.0, 0.0),
    "run_config_optimizer": ("adamw", "adamw_fused"),
    "canvas_code_lean": (False, True),
}


def settings() -> list[Settings]:
    """Each combination that decides about patches."""
    return [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]  # type: ignore[misc]


def states(path: str, data: bytes) -> dict[str, str]:
    """Names of the patches on the file, in order, to the digest with them."""
    found = {"": sha256(data)}
    for one in settings():
        text, names = data.decode(), ""
        for patch in patch_table.wanted(one, path):
            for edit in patch.edits:
                if text.count(edit.anchor) != 1:
                    raise SystemExit(f"{path}, {names} {patch.name}: not once in the file: {edit.anchor!r}")
                text = text.replace(edit.anchor, edit.replacement)
            compile(text, path, "exec")
            names = f"{names} {patch.name}".strip()
            found[names] = sha256(text.encode())
    return found


def made(folders: list[Path]) -> str:
    head = TARGET.read_text().partition("STATES: ")[0]
    lines = [head + "STATES: dict[str, tuple[dict[str, str], ...]] = {\n"]
    for path in patch_table.paths():
        lines.append(f'    "{path}": (\n')
        held = dict.fromkeys((folder / path).read_bytes() for folder in folders)
        for data in held:
            if sha256(data) not in known.FILES[path].digests:
                raise SystemExit(f"{path}: SHA-256 {sha256(data)} is that of no known version")
            lines.append("        {\n")
            lines += [f'            "{names}": "{digest}",\n' for names, digest in states(path, data).items()]
            lines.append("        },\n")
        lines.append("    ),\n")
    return "".join([*lines, "}\n"])


if __name__ == "__main__":
    TARGET.write_text(made([Path(word) for word in sys.argv[1:]]))
