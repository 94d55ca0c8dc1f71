"""The gates of Ansible's ecosystem, on the built and installed collection (`python -m tools.artifact` makes it).

python -m tools.gates GATE...            importer, ansible-lint, sanity, docs, changelog; none: these
python -m tools.gates --whole GATE...    with what takes minutes
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.artifact import INSTALLED, PLACE, ROOT, file

BIN = Path(sys.executable).parent
LINES = ["--truncate", "0", "--color", "no"]
# Sanity tests that take long (40 and 16 s of a core, the others together 12 s); `make publish-check` runs them.
SLOW = ("pylint", "import")
# Rules that hold for what is shipped inside Ansible's community package, and not for this collection. ansible-test has
# no other switch than a file of exceptions, so it is made here, from this table, and the artifact has none.
DO_NOT_APPLY = {
    "validate-modules:missing-gplv3-license": "asks for GPLv3 in each module's header; this collection is Apache-2.0, "
    "which Galaxy admits and which is compatible with ansible-core's GPLv3",
}
DOCUMENTED = ("plugins/modules/*.py", "plugins/lookup/*.py")  # what validate-modules reads
# ansible-test fetches pip from one fixed address. pip can install itself, from the index that is configured here.
PIP = """import subprocess, sys
words = [word for word in sys.argv[1:] if word not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([{python!r}, "-m", "pip", "--python", sys.executable, "install", *words]))
"""


def run(words: Sequence[str | Path], env: Mapping[str, str] | None = None, place: Path = INSTALLED) -> tuple[int, str]:
    """Exit code and output, which is shown too."""
    path = f"{BIN}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(word) for word in words],
        cwd=place,
        env={**os.environ, "PATH": path, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    return done.returncode, done.stdout


def importer(whole: bool) -> int:
    """What Galaxy does with an upload. A warning counts. Its ansible-lint leaves rules out that ansible_lint() has."""
    env = {"GALAXY_IMPORTER_RUN_ANSIBLE_LINT": str(whole).lower()}
    code, text = run([sys.executable, "-m", "galaxy_importer.main", file()], env, place=PLACE)
    return code or int(bool(re.search(r"^(WARNING|ERROR)", text, re.MULTILINE)))


def ansible_lint(whole: bool) -> int:
    words = ["--offline", "--strict", "--nocolor", "--profile", "production"]
    return run([BIN / "ansible-lint", *words], {"ANSIBLE_COLLECTIONS_PATH": str(PLACE)})[0]


def sanity(whole: bool) -> int:
    home = ROOT / ".cache" / "sanity"
    env = {"HOME": str(home), "PATH": f"{BIN}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    env["ANSIBLE_COLLECTIONS_PATH"] = str(PLACE)
    pip = home / ".ansible" / "test" / "cache" / f"get_pip_{pip_version().replace('.', '_')}.py"
    pip.parent.mkdir(parents=True, exist_ok=True)
    pip.write_text(PIP.format(python=sys.executable))
    exceptions(INSTALLED / "tests" / "sanity")
    skipped = [] if whole else [word for name in SLOW for word in ("--skip-test", name)]
    code, text = run([BIN / "ansible-test", "sanity", *LINES, *skipped], env)
    return code or int("All targets skipped" in text)


def pip_version() -> str:
    """The version that this ansible-test wants in its environments."""
    from ansible_test._internal import python_requirements

    found = re.search(r"pip='([\d.]+)'", Path(python_requirements.__file__).read_text())
    if not found:
        raise SystemExit("ansible-test names its pip in another way: see get_venv_packages in python_requirements.py")
    return found[1]


def exceptions(folder: Path) -> None:
    """DO_NOT_APPLY in the form of this ansible-core."""
    from ansible.release import __version__ as core

    folder.mkdir(parents=True, exist_ok=True)
    files = [path.relative_to(INSTALLED) for pattern in DOCUMENTED for path in sorted(INSTALLED.glob(pattern))]
    lines = [f"{name} {rule}\n" for name in files for rule in DO_NOT_APPLY]
    (folder / f"ignore-{'.'.join(core.split('.')[:2])}.txt").write_text("".join(lines))


def docs(whole: bool) -> int:
    words = ["lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "all"]
    return run([BIN / "antsibull-docs", *words, "--disallow-unknown-collection-refs", "--skip-rstcheck", INSTALLED])[0]


def changelog(whole: bool) -> int:
    """The fragments are sound, and CHANGELOG.md says what changelog.yaml says."""
    code, _text = run([BIN / "antsibull-changelog", "lint"], place=ROOT)
    before = (ROOT / "CHANGELOG.md").read_text()
    made, _text = run([BIN / "antsibull-changelog", "generate"], place=ROOT)
    return code or made or int(before != (ROOT / "CHANGELOG.md").read_text())


GATES = {"importer": importer, "ansible-lint": ansible_lint, "sanity": sanity, "docs": docs, "changelog": changelog}


def main(words: list[str]) -> int:
    whole = "--whole" in words
    names = [word for word in words if word != "--whole"] or list(GATES)
    if unknown := set(names) - set(GATES):
        sys.stderr.write(f"no such gate: {' '.join(sorted(unknown))}\n{__doc__}")
        return 2
    results = {name: GATES[name](whole) for name in names}
    sys.stdout.write("".join(f"{name}: {'failed' if code else 'passed'}\n" for name, code in results.items()))
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
