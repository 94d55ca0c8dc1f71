"""The proof of an environment: one process of it imports everything, and compiles what the trainer will compile."""

from __future__ import annotations

import json
from typing import Any

from ...core.errors import FleetError
from ...system import folders, programs
from .tools import environment

IMPORTER = """
import importlib, json, platform, sys
out = {"imports": {}, "failed": {}, "torch": {}, "python": platform.python_version()}
for name in json.loads(sys.argv[1]):
    try:
        module = importlib.import_module(name)
        out["imports"][name] = str(getattr(module, "__version__", ""))
    except BaseException as error:
        out["failed"][name] = f"{type(error).__name__}: {error}"[:300]
torch = sys.modules.get("torch")
if torch is not None and "torch" in out["imports"]:
    out["torch"] = {"version": str(torch.__version__), "cuda": torch.version.cuda or "",
                    "cuda_available": bool(torch.cuda.is_available()),
                    "cxx11_abi": bool(torch.compiled_with_cxx11_abi())}
def flex():
    import time
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    begun = time.monotonic()
    device = sys.argv[2]
    rows = torch.randn(1, 1, 256, 64, device=device, dtype=torch.bfloat16)
    mask = create_block_mask(lambda batch, head, query, key: query >= key, None, None, 256, 256, device=device)
    if not bool(torch.compile(flex_attention)(rows, rows, rows, block_mask=mask).isfinite().all()):
        raise ValueError("flex attention computes nonsense")
    return round(time.monotonic() - begun, 1)
if sys.argv[2] and (out["torch"].get("cuda_available") or sys.argv[2] == "cpu"):
    try:
        out["flex_seconds"] = flex()
    except BaseException as error:
        out["failed"]["flex attention"] = f"{type(error).__name__}: {error}"[:300]
sys.stdout.write("\\n" + json.dumps(out) + "\\n")
"""


def import_all(python: str, modules: list[str], *, ours: bool = True, flex: str = "") -> dict[str, Any]:
    """{"imports": {module: version}, "failed": {module: error}, "torch": {...}, "python"} from one new process.

    In an environment of the user's (not `ours`) not even bytecode is written. `flex`: the device, cuda, that flex
    attention is compiled for once where there is one; "" for not.
    """
    argv = [python, "-I" if ours else "-IB", "-c", IMPORTER, json.dumps(modules), flex]
    with folders.temporary() as folder:
        caches = dict.fromkeys(("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME"), folder)
        env = {**environment(), **caches}
        done = programs.run(*argv, env=env)
    lines = done.out.strip().splitlines()
    if not done or not lines:
        said = " / ".join(done.err.strip().splitlines()[-3:])
        raise FleetError(
            "the imports of the trainer ended the process",
            variable="conda_env_imports",
            found=f"exit code {done.code}: {said}",
        )
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def torch_of(python: str) -> dict[str, Any]:
    """Torch's own version, cuda and cxx11_abi."""
    proof = import_all(python, ["torch"])
    if proof["failed"]:
        raise FleetError("torch can't be imported", variable="conda_env_pip_packages", found=proof["failed"]["torch"])
    torch: dict[str, Any] = proof["torch"]
    return torch
