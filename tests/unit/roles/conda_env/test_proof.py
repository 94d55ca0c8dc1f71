"""The proof: imports, what torch says of itself, and flex attention compiled once where there is a GPU."""

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import proof as conda_proof

from tests.unit.support.conda_host import PYTHON, TOOLS

TORCH = """
__version__, bfloat16 = "2.7.1+cu126", "bf16"
class version: cuda = "12.6"
class Sum(float):
    def sum(self): return self
def ones(number, device): return Sum({ones})
class cuda:
    is_available = staticmethod(lambda: {cuda})
    device_count = staticmethod(lambda: 2)
    get_device_capability = staticmethod(lambda number: {capability})
    get_arch_list = staticmethod(lambda: {archs})
{more}
def compiled_with_cxx11_abi(): return True
def randn(*topology, **more): return topology
def compile(what): return what
"""
GPU = {"ones": 2, "capability": (9, 0), "archs": ["sm_80", "sm_90"], "more": ""}
SCRIPT = {"PATH": "/usr/bin:/bin"}
FLEX = """
import os
class Answer:
    def isfinite(self): return self
    def all(self): return {finite}
def create_block_mask(mask, *topology, device): assert device == "cuda" and mask(0, 0, 2, 1)
def flex_attention(query, key, value, block_mask):
    assert os.path.isdir(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    {fails}
    return Answer()
"""


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Makes an environment with a torch of that kind, and returns its Python."""
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))

    def make(*, cuda=True, finite=True, fails="pass", **torch):
        site = tmp_path / "lib" / "python3.10" / "site-packages"
        (site / "torch" / "nn" / "attention").mkdir(parents=True)
        for folder in ("nn", "nn/attention"):
            (site / "torch" / folder / "__init__.py").touch()
        (site / "torch" / "__init__.py").write_text(TORCH.format(cuda=cuda, **{**GPU, **torch}))
        flex = FLEX.format(finite=finite, fails=fails)
        (site / "torch" / "nn" / "attention" / "flex_attention.py").write_text(flex)
        program = tmp_path / "bin" / "python"
        program.parent.mkdir()
        program.write_text(f"#!{PYTHON}\n" + (TOOLS / "python").read_text().split("\n", 1)[1])
        program.chmod(0o755)
        return str(program)

    make.folder = tmp_path
    return make


def test_flex_attention_is_compiled_where_there_is_a_gpu(python):
    proof = conda_proof.import_all(python(), ["torch"], script=SCRIPT, flex="cuda")
    assert (proof["failed"], proof["flex_seconds"] >= 0) == ({}, True)
    assert proof["torch"] == {"version": "2.7.1+cu126", "cuda": "12.6", "cuda_available": True, "cxx11_abi": True}


BITS = """
class optim:
    class AdamW8bit:
        def __init__(self, params, lr): assert len(params) == 1
        def step(self): {step}
"""


@pytest.mark.parametrize(
    ("step", "cuda", "ones", "failed"),
    [
        pytest.param("pass", True, 2, {}, id="it has code for the GPU"),
        pytest.param(
            "raise OSError('no kernel')",
            True,
            2,
            {"an optimizer in 8 bits": "OSError: no kernel"},
            id="it is built for another CUDA",
        ),
        pytest.param(
            "pass",
            True,
            8192,
            {"an optimizer in 8 bits": "ValueError: the optimizer in 8 bits computes nonsense"},
            id="nothing moves",
        ),
        pytest.param("raise OSError", False, 2, {}, id="no GPU"),
    ],
)
def test_an_optimizer_in_8_bits_makes_a_step(python, step, cuda, ones, failed):
    program = python(cuda=cuda, ones=ones, more="from . import nn\ndef ones_like(given): return given")
    site = python.folder / "lib" / "python3.10" / "site-packages"
    (site / "torch" / "nn" / "__init__.py").write_text("def Parameter(given): return given\n")
    (site / "bitsandbytes").mkdir()
    (site / "bitsandbytes" / "__init__.py").write_text(BITS.format(step=step))
    proof = conda_proof.import_all(program, ["torch", "bitsandbytes"], script=SCRIPT)
    assert proof["failed"] == failed
    assert conda_proof.import_all(program, ["torch"], script=SCRIPT)["failed"] == {}, "only where it is wanted"


@pytest.mark.parametrize(("cuda", "flex"), [(False, "cuda"), (True, "")], ids=["no GPU", "not wanted"])
def test_it_is_not_compiled_elsewhere(python, cuda, flex):
    proof = conda_proof.import_all(python(cuda=cuda, fails="raise OSError"), ["torch"], script=SCRIPT, flex=flex)
    assert "flex_seconds" not in proof
    assert proof["failed"] == {}


TROUBLES = {
    "no compiler": ({"fails": "raise FileNotFoundError('cc')"}, "FileNotFoundError: cc"),
    "nonsense": ({"finite": False}, "ValueError: flex attention computes nonsense"),
}


@pytest.mark.parametrize(("kind", "text"), TROUBLES.values(), ids=TROUBLES)
def test_what_it_fails_with_is_named_like_an_import(python, kind, text):
    assert conda_proof.import_all(python(**kind), ["torch"], script=SCRIPT, flex="cuda")["failed"] == {
        "flex attention": text
    }


def test_a_process_that_ends_is_told(tmp_path):
    with pytest.raises(FleetError, match="ended the process"):
        conda_proof.import_all("/bin/false", ["torch"], script=SCRIPT)


NONE = "RuntimeError: torch sees no GPU"
KERNEL = "RuntimeError: no kernel image for GPU 0"
UNFIT = {
    "a GPU": ({}, None),
    "none": ({"cuda": False}, NONE),
    "none, and why": (
        {"cuda": False, "more": "import warnings; warnings.warn('The NVIDIA driver on your system is too old')"},
        f"{NONE}: The NVIDIA driver on your system is too old",
    ),
    "B200 and a torch for CUDA 12.6": ({"capability": (10, 0)}, f"{KERNEL} (sm_100): torch has sm_80 sm_90"),
    "B200 and a torch for CUDA 12.8": ({"capability": (10, 0), "archs": ["sm_90", "sm_100", "sm_120"]}, None),
    "B300, which runs code of B200": ({"capability": (10, 3), "archs": ["sm_90", "sm_100"]}, None),
    "code that is compiled when it is loaded": ({"capability": (10, 0), "archs": ["sm_80", "compute_90"]}, None),
    "an RTX 4090, which runs code of its elder": ({"capability": (8, 9), "archs": ["sm_80", "sm_86"]}, None),
    "an A100 and code for its successors alone": (
        {"capability": (8, 0), "archs": ["sm_86", "sm_90"]},
        f"{KERNEL} (sm_80): torch has sm_86 sm_90",
    ),
    "nonsense": ({"ones": 7}, "ValueError: the GPU computes nonsense"),
}


@pytest.mark.parametrize(("kind", "text"), UNFIT.values(), ids=UNFIT)
def test_torch_has_to_see_every_gpu_and_to_have_code_for_it(python, kind, text):
    proof = conda_proof.import_all(python(**kind), ["torch"], script=SCRIPT, gpu=True)
    assert proof["failed"] == ({"a GPU": text} if text else {})
    assert conda_proof.import_all(proof_python(python), ["torch"], script=SCRIPT)["failed"] == {}


def proof_python(python):
    """The one that was made: without a GPU to be seen nothing of this is asked."""
    return str(python.folder / "bin/python")


BREAKS = """
import os
if "cuda-12.1" in os.environ.get({name!r}, ""):
    raise ImportError("libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12")
"""


@pytest.mark.parametrize("name", ["LD_LIBRARY_PATH", "PYTHONPATH", "LD_PRELOAD_OF_NOBODY"])
def test_a_torch_that_breaks_in_the_script_s_environment_breaks_in_the_proof(python, name):
    at = python(more=BREAKS.format(name=name))
    script = {**SCRIPT, name: "/usr/local/cuda-12.1/lib64"}
    assert "torch" in conda_proof.import_all(at, ["torch"], script=script)["failed"]
    with pytest.raises(FleetError) as caught:
        conda_proof.torch_of(at, script)
    known = name in conda_proof.SUSPECTS
    assert caught.value.variable == ("run_config_env" if known else "conda_env_pip_packages")
    assert ("cuda-12.1" in caught.value.found) == known
    assert conda_proof.torch_of(at, SCRIPT)["version"] == "2.7.1+cu126"


def test_what_is_set_around_the_work_is_not_seen_by_the_proof(python, monkeypatch):
    """The unit does not see it either."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda-12.1/lib64")
    assert conda_proof.torch_of(python(more=BREAKS.format(name="LD_LIBRARY_PATH")), SCRIPT)["cuda"] == "12.6"
