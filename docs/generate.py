"""Write what is made from code: docs/variables.md and the types of settings from the argument specs, docs/findings.md
from the catalogue, docs/fit.md from the planner. `--check` only compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "docs"), str(ROOT)]

from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import CATALOGUE, SEVERITIES  # noqa: E402 - the path is set above
from fit_page import page  # noqa: E402 - the path is set above

SPEC = "*/meta/argument_specs.yml"
VARIABLES = "\n## Variables\n"
MADE = "<!-- Made by `make docs`; edit the source instead: {source}. -->\n"


# Ansible's markup: O() an option, V() a value, RV() a returned value, E() an environment variable, C() code,
# M() a module, B() bold, I() italic.
MARKUP = re.compile(r"\b(?P<kind>O|V|RV|E|C|M|P|B|I)\((?P<text>[^()]*(?:\([^()]*\)[^()]*)*)\)")
STYLES = {"B": "**", "I": "*"}


def markdown(text: str) -> str:
    """Ansible's markup as markdown: O(name=value) becomes `name: value`, the others `text`."""

    def style(match: re.Match[str]) -> str:
        mark = STYLES.get(match["kind"], "`")
        shown = match["text"].replace("=", ": ", 1) if match["kind"] in ("O", "RV") else match["text"]
        return f"{mark}{shown}{mark}"

    return MARKUP.sub(style, text)


def prose(text: str | list[str]) -> str:
    joined = " ".join(text) if isinstance(text, list) else text
    return markdown(" ".join(joined.split())).replace("|", "\\|")


def shown(value: Any) -> str:
    """A default as it would be written in YAML, on one line; long lists by their length."""
    if isinstance(value, (list, dict)) and len(str(value)) > 60:
        return f"{len(value)} entries, see the role's defaults"
    if value is None:
        return "required"
    if value == "":
        return "empty"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).replace("\n...", "").strip()
    return f"`{text}`"


def specs() -> dict[str, Any]:
    """The argument spec of each role. Where it states no default, which must be a value, the role's own is shown."""
    found = {}
    for path in sorted((ROOT / "roles").glob(SPEC)):
        spec = yaml.safe_load(path.read_text())["argument_specs"]["main"]
        defaults = yaml.safe_load((path.parents[1] / "defaults/main.yml").read_text())
        for name, option in spec.get("options", {}).items():
            option.setdefault("default", defaults.get(name))
        found[path.parts[-3]] = spec
    return found


def variables() -> str:
    lines = ["# Variables", "", MADE.format(source=f"roles/{SPEC}")]
    for role, spec in specs().items():
        lines += [f"## {role}", "", prose(spec.get("description", spec["short_description"])), ""]
        lines += [*table(spec), ""]
    return "\n".join(lines)


def table(spec: dict[str, Any]) -> list[str]:
    lines = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, option in spec.get("options", {}).items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        if "choices" in option:
            kind += ": " + ", ".join(str(choice) for choice in option["choices"])
        secret = " **Secret.**" if option.get("no_log") else ""
        meaning = prose(option["description"]) + secret
        lines.append(f"| `{name}` | {kind} | {shown(option.get('default'))} | {meaning} |")
    return lines


def role_readmes() -> dict[str, str]:
    """Each role's README: what people wrote, then the table of its variables."""
    found = {}
    for role, spec in specs().items():
        name = f"roles/{role}/README.md"
        by_hand = (ROOT / name).read_text().split(VARIABLES)[0].rstrip()
        made = MADE.format(source=f"{name} above this line, roles/{role}/meta/argument_specs.yml").rstrip()
        found[name] = "\n".join([by_hand, "", VARIABLES.strip(), "", made, "", *table(spec), ""])
    return found


KINDS = {"path": "str", "dict": "dict[str, Any]"}


def settings() -> str:
    """settings.pyi: each variable with its type, for mypy alone."""
    lines = [f"# Made by `make docs` from roles/{SPEC}.", "from typing import Any, TypedDict", ""]
    lines += ["class Settings(TypedDict):"]
    for spec in specs().values():
        for name, option in spec.get("options", {}).items():
            kind, inner = option.get("type", "str"), option.get("elements", "str")
            kind = f"list[{KINDS.get(inner, inner)}]" if kind == "list" else KINDS.get(kind, kind)
            lines.append(f"    {name}: {kind}")
    return "\n".join(
        [*lines, "", "NO_SETTINGS: Settings", "", "def named(settings: Settings, name: str) -> Any: ...", ""]
    )


def findings() -> str:
    lines = ["# Findings", "", MADE.format(source="plugins/module_utils/findings/of_*.py")]
    lines += [
        "An error refuses its own run; other runs go on. `preflight_accepted_findings: [CODE]` accepts a finding.",
        "The plan then shows it as accepted.",
        "",
    ]
    for severity in SEVERITIES:
        lines += [f"## {severity.capitalize()}s", "", "| code | why it matters | what to do |", "| --- | --- | --- |"]
        lines += [
            f"| `{code}` | {prose(entry.because)} | {prose(entry.remedy)} |"
            for code, entry in sorted(CATALOGUE.items())
            if entry.severity == severity
        ]
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    stale = []
    made = {
        "docs/variables.md": variables(),
        "docs/findings.md": findings(),
        "docs/fit.md": page(MADE),
        "plugins/module_utils/core/settings.pyi": settings(),
        **role_readmes(),
    }
    for name, text in made.items():
        path = ROOT / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        sys.stderr.write(f"{' and '.join(stale)} no longer match their source: run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
