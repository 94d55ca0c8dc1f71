"""Write what is made from code: docs/variables.md and the types of settings from the argument specs, docs/findings.md
from the catalogue, both also in Chinese (docs/zh), docs/fit.md and docs/plan.md from the planner,
docs/evaluation.schema.json from the dataclasses of the report. `--check` compares.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "docs"), str(ROOT)]

from tests.finder import install  # noqa: E402 - the path is set above

install()

import plan_page  # noqa: E402 - the collection can be found now
from ansible_collections.canvas.fleet.plugins.module_utils.findings.finding import CATALOGUE, SEVERITIES  # noqa: E402 - the path is set above
from chinese import chosen, load  # noqa: E402 - the path is set above
from evaluation_schema import schema  # noqa: E402 - the path is set above
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


class Words(NamedTuple):
    """What stands around the texts, in one language."""

    other: str  # the link to the other language
    variables: str
    variable_head: str
    required: str
    empty: str
    entries: str
    hidden: str  # after a secret's meaning
    findings: str
    finding_head: str
    severities: tuple[str, ...]
    accepting: tuple[str, ...]


ENGLISH = Words(
    other="[中文]({name}.zh.md)",
    variables="Variables",
    variable_head="| variable | type | default | meaning |",
    required="required",
    empty="empty",
    entries="{} entries, see the role's defaults",
    hidden=" **Secret.**",
    findings="Findings",
    finding_head="| code | why it matters | what to do |",
    severities=tuple(f"{one.capitalize()}s" for one in SEVERITIES),
    accepting=(
        "An error refuses its own run; other runs go on. `preflight_accepted_findings: [CODE]` accepts a finding.",
        "The plan then shows it as accepted.",
    ),
)
CHINESE = Words(
    other="[English]({name}.md)",
    variables="变量",
    variable_head="| 变量 | 类型 | 默认值 | 含义 |",
    required="必填",
    empty="空",
    entries="{} 项，见 role 的 defaults",
    hidden="**密钥。**",
    findings="诊断代码",
    finding_head="| 代码 | 为什么重要 | 怎么办 |",
    severities=("错误", "警告", "提示"),
    accepting=(
        "错误只拒绝它自己的训练任务，其他任务照常。`preflight_accepted_findings: [代码]` 可以接受一条诊断，",
        "计划里会标明已接受。",
    ),
)


def shown(value: Any, words: Words) -> str:
    """A default as it would be written in YAML, on one line; long lists by their length."""
    if isinstance(value, (list, dict)) and len(str(value)) > 60:
        return words.entries.format(len(value))
    if value is None:
        return words.required
    if value == "":
        return words.empty
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


def variables(words: Words, translated: dict[str, Any]) -> str:
    lines = [f"# {words.variables}", "", words.other.format(name="variables"), "", MADE.format(source=f"roles/{SPEC}")]
    for role, spec in specs().items():
        about = prose(spec.get("description", spec["short_description"]))
        lines += [f"## {role}", "", chosen(translated, role, text=about)["text"], ""]
        lines += [*table(spec, words, translated), ""]
    return "\n".join(lines)


def table(spec: dict[str, Any], words: Words, translated: dict[str, Any]) -> list[str]:
    """The variables of a role."""
    lines = [words.variable_head, "| --- | --- | --- | --- |"]
    for name, option in spec.get("options", {}).items():
        kind = option.get("type", "str") + (f" of {option['elements']}" if "elements" in option else "")
        if "choices" in option:
            kind += ": " + ", ".join(str(choice) for choice in option["choices"])
        secret = words.hidden if option.get("no_log") else ""
        meaning = chosen(translated, name, text=prose(option["description"]))["text"] + secret
        lines.append(f"| `{name}` | {kind} | {shown(option.get('default'), words)} | {meaning} |")
    return lines


def role_readmes() -> dict[str, str]:
    """Each role's README: what people wrote, then the table of its variables."""
    found = {}
    for role, spec in specs().items():
        name = f"roles/{role}/README.md"
        by_hand = (ROOT / name).read_text().split(VARIABLES)[0].rstrip()
        made = MADE.format(source=f"{name} above this line, roles/{role}/meta/argument_specs.yml").rstrip()
        found[name] = "\n".join([by_hand, "", VARIABLES.strip(), "", made, "", *table(spec, ENGLISH, {}), ""])
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


def findings(words: Words, translated: dict[str, Any]) -> str:
    lines = [f"# {words.findings}", "", words.other.format(name="findings"), ""]
    lines += [MADE.format(source="plugins/module_utils/findings/of_*.py"), *words.accepting, ""]
    for severity, title in zip(SEVERITIES, words.severities, strict=True):
        lines += [f"## {title}", "", words.finding_head, "| --- | --- | --- |"]
        for code, entry in sorted(CATALOGUE.items()):
            if entry.severity == severity:
                texts = chosen(translated, code, because=prose(entry.because), remedy=prose(entry.remedy))
                lines.append(f"| `{code}` | {texts['because']} | {texts['remedy']} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    stale = []
    made = {
        "docs/variables.md": variables(ENGLISH, {}),
        "docs/variables.zh.md": variables(CHINESE, load("variables")),
        "docs/findings.md": findings(ENGLISH, {}),
        "docs/findings.zh.md": findings(CHINESE, load("findings")),
        "docs/fit.md": page(MADE),
        "docs/plan.md": plan_page.page(MADE),
        "docs/evaluation.schema.json": schema(),
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
