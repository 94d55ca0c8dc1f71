"""The proof: imports, what torch says of itself, and flex attention compiled once where there is a GPU."""

import pytest
from ansible_collections.canvas.fleet.plugins.module_utils.core.errors import FleetError
from ansible_collections.canvas.fleet.plugins.module_utils.roles.conda_env import proof as conda_proof

from tests.unit.support.conda_host import PYTHON, TOOLS

TORCH = """
__version__, bfloat16 = "2.7.1+cu126", "bf16"
class version: cuda = "12.6"
class cuda: is_available = staticmethod(lambda: {cuda})
def compiled_with_cxx11_abi(): return True
def randn(*topology, **more): return topology
def compile(what): return what
"""
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

    def make(*, cuda=True, finite=True, fails="pass"):
        site = tmp_path / "lib" / "python3.10" / "site-packages"
        (site / "torch" / "nn" / "attention").mkdir(parents=True)
        for folder in ("nn", "nn/attention"):
            (site / "torch" / folder / "__init__.py").touch()
        (site / "torch" / "__init__.py").write_text(TORCH.format(cuda=cuda))
        flex = FLEX.format(finite=finite, fails=fails)
        (site / "torch" / "nn" / "attention" / "flex_attention.py").write_text(flex)
        program = tmp_path / "bin" / "python"
        program.parent.mkdir()
        program.write_text(f"#!{PYTHON}\n" + (TOOLS / "python").read_text().split("\n", 1)[1])
        program.chmod(0o755)
        return str(program)

    return make


def test_flex_attention_is_compiled_where_there_is_a_gpu(python):
    proof = conda_proof.import_all(python(), ["torch"], flex="cuda")
    assert (proof["failed"], proof["flex_seconds"] >= 0) == ({}, True)
    assert proof["torch"] == {"version": "2.7.1+cu126", "cuda": "12.6", "cuda_available": True, "cxx11_abi": True}


@pytest.mark.parametrize(("cuda", "flex"), [(False, "cuda"), (True, "")], ids=["no GPU", "not wanted"])
def test_it_is_not_compiled_elsewhere(python, cuda, flex):
    proof = conda_proof.import_all(python(cuda=cuda, fails="raise OSError"), ["torch"], flex=flex)
    assert "flex_seconds" not in proof
    assert proof["failed"] == {}


TROUBLES = {
    "no compiler": ({"fails": "raise FileNotFoundError('cc')"}, "FileNotFoundError: cc"),
    "nonsense": ({"finite": False}, "ValueError: flex attention computes nonsense"),
}


@pytest.mark.parametrize(("kind", "text"), TROUBLES.values(), ids=TROUBLES)
def test_what_it_fails_with_is_named_like_an_import(python, kind, text):
    assert conda_proof.import_all(python(**kind), ["torch"], flex="cuda")["failed"] == {"flex attention": text}


def test_a_process_that_ends_is_told(tmp_path):
    with pytest.raises(FleetError, match="ended the process"):
        conda_proof.import_all("/bin/false", ["torch"])
