"""Do the tests see it when the code is wrong? Breaks the pure cores at one place at a time, and runs their tests.

    python -m tools.mutants [--number 150] [--minutes 20] [--seed 12] [PATH]...

The places are a sample with a fixed seed, the breaks those of cosmic-ray, and two more: a call that is left out, a
value that is not returned. All happens in a copy of the checkout. For each mutant the tests of its package run, those
of its own module first, until one of them fails. A mutant that no test sees survives: it is printed as a diff.
Survivors that cannot be seen, because the code does the same, stand with the reason in mutants.equivalent.
Code that removes files is best broken on a machine that can be thrown away: the tests run as who calls this.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import difflib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator, operator_names

CHECKOUT = Path(__file__).resolve().parents[1]
CORES = "plugins/module_utils"
# Modules whose work is to judge, not to touch a host.
PURE = (
    "core/*.py", "findings/*.py", "trainer/*.py", "machine/*.py", "machine/fit/*.py", "plan/*.py", "checkpoints/*.py",
    "roles/*/decide.py", "roles/*/judge.py", "roles/*/findings.py", "roles/*/resume_findings.py", "roles/*/table.py",
    "roles/training/steps.py", "roles/training/refusals.py", "roles/nvidia/attempt.py", "roles/dataset/digests.py",
    "supervisor/watch.py", "supervisor/stop.py", "supervisor/hang.py",
)  # fmt: skip
BREAKS = re.compile(
    r"core/(ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|Lt_GtE|LtE_Lt|LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt"
    r"|Is_IsNot|IsNot_Is)|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_FloorDiv|Div_Mul|FloorDiv_Mul|Mod_Mul|Pow_Mul"
    r"|BitOr_BitAnd|BitAnd_BitOr|LShift_RShift)|ReplaceUnaryOperator_(USub_UAdd|Delete_Not)|AddNot|Replace\w+With\w+"
    r"|NumberReplacer|ZeroIterationForLoop)"
)
Place = tuple[int, int]  # line from 1, column from 0
EQUIVALENT = Path(__file__).with_suffix(".equivalent")
PYTEST = ("-m", "pytest", "-q", "-x", "-n0", "--assert=plain", "-p", "no:cacheprovider", "--hypothesis-seed=0")


class NoReturn(Operator):
    """A value that is not returned."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "return_stmt" and node.children[1].get_code().strip() not in ("None", ";"):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        node.children[1] = parso.parse(" None")
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("def f(): return 1", "def f(): return None"),)


class NoCall(Operator):
    """A call for its effect that is left out."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "atom_expr" and node.parent.type == "simple_stmt" and node.children[-1].children[0] == "(":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.parse(node.get_first_leaf().prefix + "None")

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(1)\n", "None\n"),)


@dataclass(frozen=True)
class Mutant:
    """One place of one file, and what becomes of the file. `line` counts from 1."""

    path: str
    line: int
    before: str
    after: str

    @property
    def diff(self) -> str:
        lines = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), lineterm="", n=0)
        return "\n".join(line for line in lines if line[:2] not in ("--", "++", "@@"))

    @property
    def name(self) -> str:
        """Its name in mutants.equivalent, without a line number, which any change above it would move."""
        return f"{self.path} | " + " → ".join(line[1:].strip() for line in self.diff.splitlines())


def operators() -> Iterator[Operator]:
    yield from (get_operator(name)() for name in operator_names() if BREAKS.fullmatch(name))
    yield from (NoReturn(), NoCall())


def unjudged(source: str) -> list[tuple[Place, Place]]:
    """Begin and end of types and decorators: they are not judged by tests of what the code does."""
    found: list[ast.expr] = []
    for node in ast.walk(ast.parse(source)):
        found += getattr(node, "decorator_list", [])
        found += [one for key in ("annotation", "returns") if (one := getattr(node, key, None)) is not None]
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):  # Say = Callable[[str], None]
            found.append(node.value)
    return [((one.lineno, one.col_offset), (one.end_lineno or 0, one.end_col_offset or 0)) for one in found]


def draw(seed: int, what: object) -> int:
    """A number that depends on its arguments alone: a change elsewhere leaves the rest of the sample as it was."""
    return int.from_bytes(hashlib.sha256(f"{seed} {what}".encode()).digest()[:8], "big")


def places_of(path: str) -> Iterator[tuple[str, Place, list[tuple[Operator, int]]]]:
    """Places of a file that the operators can break, with the occurrence of each operator."""
    source = (CHECKOUT / path).read_text(encoding="utf-8")
    nodes, skipped = list(ast_nodes(get_ast(source))), unjudged(source)
    places: dict[Place, list[tuple[Operator, int]]] = {}
    for operator in operators():
        found = [start for node in nodes for start, _end in operator.mutation_positions(node)]
        for occurrence, start in enumerate(found):
            places.setdefault(start, []).append((operator, occurrence))
    for place, breaks in places.items():
        if not any(begin <= place < end for begin, end in skipped):
            yield path, place, breaks


def sample(paths: Sequence[str], number: int, seed: int) -> Iterator[Mutant]:
    """Mutants of places in all files, in an order of chance: what time cuts off is a fair sample still."""
    found = [place for path in paths for place in places_of(path)]
    for path, place, breaks in sorted(found, key=lambda one: draw(seed, one[:2]))[:number]:
        source = (CHECKOUT / path).read_text(encoding="utf-8")
        operator, occurrence = breaks[draw(seed, (path, place, "break")) % len(breaks)]
        after = mutate_code(source, operator, occurrence)
        if after and after != source:
            yield Mutant(path, place[0], source, after)


def pure() -> list[str]:
    """The files of the pure cores, relative to the checkout."""
    found = {path for pattern in PURE for path in (CHECKOUT / CORES).glob(pattern) if path.name != "__init__.py"}
    return sorted(str(path.relative_to(CHECKOUT)) for path in found)


def tests_of(path: str) -> list[str]:
    """The test files of a module's package; those of the module itself first."""
    module = Path(path).relative_to(CORES)
    folder = Path("tests/unit") / module.parent
    own = folder / f"test_{module.name}"
    return [str(own), str(folder)] if (CHECKOUT / own).exists() else [str(folder)]


class Copy:
    """A copy of the checkout in which mutants live, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        for name in filter(None, names):
            if (CHECKOUT / name).is_symlink() or (CHECKOUT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, folder / name, follow_symlinks=False)
        self.seconds: dict[str, float] = {}  # of a package's tests without a mutant

    def passes(self, tests: Sequence[str], limit: float) -> bool:
        """Do these tests pass within so many seconds? Whatever they started ends with them."""
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # a mutant may be as long and as old as its module
        process = subprocess.Popen(
            [sys.executable, *PYTEST, *tests], cwd=self.folder, env=environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def survives(self, mutant: Mutant) -> bool:
        tests = tests_of(mutant.path)
        if tests[-1] not in self.seconds:
            began = time.monotonic()
            if not self.passes(tests[-1:], 600):
                raise SystemExit(f"the tests in {tests[-1]} fail without any mutant: mend them first")
            self.seconds[tests[-1]] = time.monotonic() - began
        target = self.folder / mutant.path
        target.write_text(mutant.after, encoding="utf-8")
        try:
            # One after the other: to collect a package's tests takes longer than to run those of a module.
            return all(self.passes([one], 20 + 4 * self.seconds[tests[-1]]) for one in tests)
        finally:
            target.write_text(mutant.before, encoding="utf-8")


def equivalent() -> set[str]:
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else []
    return {line.rpartition(" | ")[0] for line in lines if line and not line.startswith("#")}


def run(mutants: Sequence[Mutant], minutes: float) -> tuple[int, list[Mutant]]:
    """Number of mutants that were tried in the time, and the survivors."""
    until, survivors, tried = time.monotonic() + 60 * minutes, list[Mutant](), 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was tried until then is reported
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, contextlib.suppress(KeyboardInterrupt):
        copy = Copy(Path(folder))
        for number, mutant in enumerate(mutants, 1):
            if copy.survives(mutant):
                survivors.append(mutant)
                print(f"\n{number}: {mutant.path}:{mutant.line} survives\n{mutant.diff}\n    {mutant.name}", flush=True)
            tried = number
            if sys.stdout.isatty():
                print(f"\r{tried}/{len(mutants)}, {len(survivors)} survive ", end="", flush=True)
            if time.monotonic() > until:
                break
    return tried, survivors


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants")
    parser.add_argument("paths", nargs="*", help="files to break; the pure cores when none is named")
    parser.add_argument("--number", type=int, default=150, help="mutants in the sample")
    parser.add_argument("--minutes", type=float, default=20, help="after which no mutant is begun")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--least", type=float, default=85, help="percent that must be seen")
    asked = parser.parse_args(words)
    known = equivalent()
    mutants = [one for one in sample(asked.paths or pure(), asked.number, asked.seed) if one.name not in known]
    tried, survivors = run(mutants, asked.minutes)
    score = 100 * (tried - len(survivors)) / max(1, tried)
    print(f"\n{score:.1f} % of {tried} mutants were seen, seed {asked.seed}; {len(survivors)} survive", flush=True)
    return 0 if score >= asked.least else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
