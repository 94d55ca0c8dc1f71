"""The test of an environment: one process imports everything and compiles what the trainer will compile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Callable

from ...core.errors import FleetError
from ...system import folders, programs

Attempt = Callable[["Mapping[str, str]"], "dict[str, Any]"]
SUSPECTS = ("LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "CUDA_VISIBLE_DEVICES")

IMPORTER = """
import importlib, json, os, platform, sys, warnings
if sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]
said = []
warnings.showwarning = lambda message, *more: said.append(str(message))
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
def gpu():
    if not out["torch"]["cuda_available"]:
        raise RuntimeError("torch sees no GPU" + "".join(": " + text for text in said[-1:]))
    have = torch.cuda.get_arch_list()
    for number in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(number)
        kinds = [(kind, int(code)) for kind, code in (one.rstrip("af").split("_") for one in have)]
        fits = [code for kind, code in kinds if code <= major * 10 + minor and (kind != "sm" or code // 10 == major)]
        if have and not fits:
            which = "GPU %d (sm_%d%d)" % (number, major, minor)
            raise RuntimeError("no kernel image for %s: torch has %s" % (which, " ".join(have)))
    if float(torch.ones(2, device="cuda").sum()) != 2.0:
        raise ValueError("the GPU computes nonsense")
def flex():
    import time
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    begun = time.monotonic()
    device = sys.argv[2]
    rows = torch.randn(1, 1, 256, 64, device=device, dtype=torch.bfloat16)
    mask = create_block_mask(lambda batch, head, query, key: query >= key, None, None, 256, 256, device=device)
    if not bool(torch.compile(flex_attention)(rows, rows, rows, block_mask=mask).isfinite().all()):
        raise ValueError("flex attention computes nonsense")
    out["flex_seconds"] = round(time.monotonic() - begun, 1)
def small():
    weights = torch.nn.Parameter(torch.ones(8192, device="cuda"))
    weights.grad = torch.ones_like(weights)
    sys.modules["bitsandbytes"].optim.AdamW8bit([weights], lr=0.1).step()
    if not float(weights.sum()) < 8192:
        raise ValueError("the optimizer in 8 bits computes nonsense")
def attempt(name, what):
    try:
        what()
    except BaseException as error:
        out["failed"][name] = f"{type(error).__name__}: {error}"[:300]
if out["torch"] and sys.argv[3]:
    attempt("a GPU", gpu)
if not out["failed"].get("a GPU") and sys.argv[2] and (out["torch"].get("cuda_available") or sys.argv[2] == "cpu"):
    attempt("flex attention", flex)
if "bitsandbytes" in out["imports"] and not out["failed"].get("a GPU") and out["torch"].get("cuda_available"):
    attempt("an optimizer in 8 bits", small)
sys.stdout.write("\\n" + json.dumps(out) + "\\n")
"""
# What of our own environment would let other packages and libraries in than those that the script sees.
OTHERS = ("PYTHON", "CONDA", "LD_", "CUDA", "NCCL", "TORCH", "PATH")


def import_all(
    python: str,
    modules: list[str],
    *,
    script: Mapping[str, str],
    ours: bool = True,
    flex: str = "",
    gpu: bool = False,
) -> dict[str, Any]:
    """{"imports": {module: version}, "failed": {module: error}, "torch": {...}, "python"} from one new process.

    It sees what the trainer's processes will see: `script`. In an environment of the user's (not `ours`) not even
    bytecode is written. `flex`: the device, cuda, that flex attention is compiled for once where there is one; "" for
    not. `gpu`: torch has to see one, and to have code for each.
    """
    argv = [python, *([] if ours else ["-B"]), "-c", IMPORTER, json.dumps(modules), flex, "gpu" if gpu else ""]
    with folders.temporary() as folder:
        caches = dict.fromkeys(("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "XDG_CACHE_HOME"), folder)
        done = programs.run(*argv, env={**programs.environment(drop=OTHERS), **script, **caches})
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


def blamed(failed: Mapping[str, str], script: Mapping[str, str], attempt: Attempt) -> str:
    """The variable without which none of these fails; "" if there is none."""
    for name in (name for name in SUSPECTS if name in script):
        with suppress(FleetError):
            if (
                not failed.keys()
                & attempt({key: value for key, value in script.items() if key != name})["failed"].keys()
            ):
                return name
    return ""


def torch_of(python: str, script: Mapping[str, str]) -> dict[str, Any]:
    """Torch's own version, cuda and cxx11_abi."""

    def attempt(changed: Mapping[str, str]) -> dict[str, Any]:
        return import_all(python, ["torch"], script=changed)

    proof = attempt(script)
    if proof["failed"]:
        raise failure(proof["failed"], script, attempt, "torch can't be imported", "conda_env_pip_packages")
    torch: dict[str, Any] = proof["torch"]
    return torch


def failure(
    failed: Mapping[str, str], script: Mapping[str, str], attempt: Attempt, message: str, variable: str
) -> FleetError:
    """Names the variable of the script's environment where that is the cause, else `variable`. `attempt`: the same
    proof in another environment."""
    found = "; ".join(f"{module}: {text}" for module, text in failed.items())
    expected = "every import of the trainer works in the script's environment"
    cause = blamed(failed, script, attempt)
    if not cause:
        remedy = "correct conda_env_pip_packages; the environment in use was not changed"
        return FleetError(message, variable=variable, found=found, expected=expected, remedy=remedy)
    remedy = f"without {cause} the import works: remove {cause} from run_config_env, or set nvidia_cuda_version to the "
    remedy += "CUDA version that torch is built for; the environment in use was not changed"
    found = f"{cause}={script[cause]}; {found}"
    return FleetError(message, variable="run_config_env", found=found, expected=expected, remedy=remedy)
