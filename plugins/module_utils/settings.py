"""Settings: the variables of all roles, checked and typed by their argument specs.

Ansible's own role validation checks types but does not convert, and ignores names it does not know. Here every
value is converted once, so that the plan computes with numbers, and a misspelt name is told with its nearest kin.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.canvas.fleet.plugins.module_utils.findings import Finding, finding

# What only the plan knows enters the roles through defaults that name one of these; they are no settings of a user.
PLAN_NAMES = ("fleet_plan", "__fleet_plan")


@dataclass(frozen=True)
class Option:
    """One variable of one role, as its argument spec states it."""

    name: str
    role: str
    spec: Mapping[str, Any]

    @property
    def secret(self) -> bool:
        return bool(self.spec.get("no_log"))

    @property
    def kind(self) -> str:
        kind = str(self.spec.get("type", "str"))
        elements = self.spec.get("elements")
        return f"{kind} of {elements}" if elements else kind

    @property
    def planned(self) -> bool:
        """True for values that the plan hands to the role, so not part of what a user sets."""
        return any(name in str(self.spec.get("default", "")) for name in PLAN_NAMES)


def options_of(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Option]:
    """All options of all roles by variable name; `specs` maps a role to its loaded meta/argument_specs.yml."""
    found = {}
    for role, spec in specs.items():
        for name, option in spec["argument_specs"]["main"].get("options", {}).items():
            found[name] = Option(name, role, option)
    return found


def across(options: Mapping[str, Option], texts: Mapping[str, str]) -> set[str]:
    """Names that another role's text (its defaults, vars, tasks) refers to.

    A role sees its own defaults alone, so those are handed to it. Secrets are not.
    """
    words = {role: set(re.findall(r"\w+", text)) for role, text in texts.items()}
    return {
        name
        for name, option in options.items()
        if not option.secret and any(name in found for role, found in words.items() if role != option.role)
    }


def convert(option: Option, value: Any) -> Any:
    """The value in the type that the spec states. Raises ValueError with Ansible's own words when it can't be."""
    spec = {key: option.spec[key] for key in ("type", "elements", "choices") if key in option.spec}
    if spec.get("type") == "path":
        spec["type"] = "str"  # a path of the host: expanding ~ on the controller would name another folder
    result = ArgumentSpecValidator({option.name: spec}).validate({option.name: value})
    if result.error_messages:
        raise ValueError(result.error_messages[0])
    return result.validated_parameters[option.name]


def masked(value: Any) -> str:
    """A secret as the plan sees it: its digest, enough to notice a change; "" when it is not set."""
    text = "" if value is None else str(value)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest() if text else ""


def resolve(options: Mapping[str, Option], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Typed settings from templated values, and a finding for each value that can't be converted.

    `given` holds a value for each option that is no planned one. Secrets come out masked.
    """
    settings: dict[str, Any] = {}
    findings = []
    for name, value in given.items():
        option = options[name]
        if option.secret:
            settings[name] = masked(value)
            continue
        try:
            settings[name] = convert(option, value)
        except (ValueError, TypeError) as error:
            settings[name] = value
            findings.append(invalid(option, value, str(error)))
    return settings, findings


def invalid(option: Option, value: Any, why: str) -> Finding:
    """The finding for a value that does not fit its option; a secret's value is not shown."""
    expected = option.kind
    if option.spec.get("choices"):
        expected += ", one of " + ", ".join(str(choice) for choice in option.spec["choices"])
    shown = "a secret" if option.secret else repr(value)
    return finding(
        "VARIABLE_INVALID",
        variable=option.name,
        found=f"{option.name}: {shown} ({type(value).__name__.strip('_')})",
        expected=expected,
        remedy=f"correct {option.name} in the inventory ({why})" if not option.secret else "",
    )


def unknown(options: Mapping[str, Option], names: Iterable[str], roles: Iterable[str]) -> list[Finding]:
    """A finding for each name that carries a role's prefix and that no spec knows."""
    prefixes = tuple(f"{role}_" for role in roles)
    findings = []
    for name in sorted(set(names) - set(options) - set(PLAN_NAMES)):
        if not name.startswith(prefixes):
            continue
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
        findings.append(
            finding(
                "VARIABLE_UNKNOWN",
                variable=name,
                found=f"{name}, which no role knows",
                expected=f"{near[0]}?" if near else "a variable of docs/variables.md",
                remedy=f"write {near[0]} instead of {name}, or remove it" if near else "",
            )
        )
    return findings
