"""Settings: the variables of all roles, checked and typed by their argument specs.

Ansible's own role validation checks types but does not convert, and ignores names it does not know. Here every
value is converted once, so that the plan computes with numbers, and a misspelt name is reported with the nearest known
one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..core import masking
from ..core.printable import printable
from ..findings.finding import Finding, finding, placed
from ..system.digests import sha256
from . import names, rules, together

SHOWN = 200  # letters of a wrong value


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


def options_of(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Option]:
    """All options of all roles by variable name; `specs` maps a role to its loaded meta/argument_specs.yml."""
    found = {}
    for role, spec in specs.items():
        for name, option in spec["argument_specs"]["main"].get("options", {}).items():
            found[name] = Option(name, role, option)
    return found


def convert(option: Option, value: Any) -> Any:
    """The value in the type that the spec states. Raises ValueError with Ansible's own words when it can't be."""
    result = validator(option).validate({option.name: value})
    if result.error_messages:
        raise ValueError(result.error_messages[0])
    return result.validated_parameters[option.name]


def plain(value: Any) -> Any:
    """The value without Ansible's marks: it notes where a value was read in subclasses of str, list and others."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return next(
        (kind(value) for kind in (int, float) if isinstance(value, kind) and not isinstance(value, bool)), value
    )


def validator(option: Option) -> ArgumentSpecValidator:
    """Ansible's own, made once for each option."""
    spec = {key: option.spec[key] for key in ("type", "elements", "choices") if key in option.spec}
    for key in ("type", "elements"):
        if spec.get(key) == "path":
            spec[key] = "str"  # a path of the host: expanding ~ on the controller would name another folder
    return _validator(option.name, json.dumps(spec))


@lru_cache(maxsize=1024)
def _validator(name: str, spec: str) -> ArgumentSpecValidator:
    return ArgumentSpecValidator({name: json.loads(spec)})


def digest_of(secret: Any) -> str:
    """A secret as the plan sees it: its digest, enough to notice a change; "" when it is not set."""
    text = cleaned(secret)
    text = json.dumps(text, sort_keys=True) if isinstance(text, dict) else text
    return "sha256:" + sha256(text) if text not in ("", "{}") else ""


def cleaned(secret: Any) -> Any:
    """A secret as it is used: a word without what a vault or an editor put around it, or a mapping of such words."""
    if isinstance(secret, Mapping):
        return {str(name): masking.clean(one) for name, one in secret.items()}
    return masking.clean(secret)


def read(
    options: Mapping[str, Option],
    defaults: Mapping[str, Any],
    variables: Mapping[str, Any],
    template: Callable[[Any], Any],
) -> tuple[dict[str, Any], list[Finding]]:
    """A host's settings from the roles' defaults and its variables, and all that is wrong with them.

    `template` resolves a raw value and raises ValueError, in words, where it can't. Accepted findings are marked.
    """
    raw = {name: variables.get(name, defaults.get(name)) for name in options if name in variables or name in defaults}
    given: dict[str, Any] = {}
    failed: dict[str, str] = {}
    for name in raw:
        try:
            given[name] = template(raw[name])
        except ValueError as error:
            failed[name] = str(error)
    settings, findings = resolve(options, given)
    findings += [untemplated(options[name], why) for name, why in failed.items()]
    # a default that stands on a broken variable is not broken itself
    findings = [found for found in findings if found.variable in variables] or findings
    findings += names.unknown({name: option.role for name, option in options.items()}, variables)
    # a list of codes that is wrong itself accepts nothing
    sound = all(found.variable != "preflight_accepted_findings" for found in findings)
    return settings, placed(
        findings, host="", run="", accept=(settings.get("preflight_accepted_findings") or ()) if sound else ()
    )


def untemplated(option: Option, why: str) -> Finding:
    """The finding for a value whose Jinja text can't be resolved; the text itself is not shown."""
    return finding(
        "VARIABLE_INVALID",
        variable=option.name,
        found=f"{option.name}: {why[:200]}"
        if not option.secret
        else f"{option.name}: a secret that cannot be resolved",
        expected=f"{option.kind}, from variables that are set",
    )


def resolve(options: Mapping[str, Option], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Finding]]:
    """Typed settings from templated values, and a finding for each value that is not one of them.

    `given` holds a value for each option. Secrets come out masked.
    """
    settings: dict[str, Any] = {}
    findings: list[Finding] = []
    secrets = [value for name, value in given.items() if options[name].secret]
    masking.remember(*secrets)
    words = [word for one in map(cleaned, secrets) for word in (one.values() if isinstance(one, dict) else [one])]
    for name, value in given.items():
        option = options[name]
        try:
            typed, found = judged(option, value, words)
        except Exception as error:  # Ansible converts, and raises whatever the value brings about: .inf as an int
            typed, found = None, invalid(option, value, option.kind, printable(str(error))[:SHOWN])
        if found:
            findings.append(found)
        else:
            settings[name] = typed
    return settings, findings or list(together.judge(settings))


def judged(option: Option, value: Any, secrets: Sequence[str] = ()) -> tuple[Any, Finding | None]:
    """The typed value, and what is wrong with it. Raises any exception where it can't be converted.

    `secrets`: those of this host, which no other variable may hold.
    """
    if option.secret:
        expected = rules.broken_secret(option.kind, value)
        return digest_of(value), invalid(option, value, expected) if expected else None
    if secret := rules.misplaced_secret(option.name, plain(value), secrets):
        return None, secret
    kind = rules.wrong_kind(option.kind, value)
    if kind:
        return value, invalid(option, value, kind)
    typed = plain(convert(option, value))
    broken = rules.broken(option.name, option.kind, typed)
    return typed, invalid(option, value, broken) if broken else None


def invalid(option: Option, value: Any, expected: str, why: str = "") -> Finding:
    """The finding for a value that does not fit its option; a secret's value is not shown."""
    if option.spec.get("choices"):
        expected += ", one of " + ", ".join(str(choice) for choice in option.spec["choices"])
    remedy = f"correct {option.name} in the inventory" + (f" ({why})" if why else "")
    found = f"{option.name}: {printed(value)} ({kind_of(value)})"
    return finding(
        "VARIABLE_INVALID",
        variable=option.name,
        found=f"{option.name} ({kind_of(value)}, not shown)" if option.secret else found,
        expected=expected,
        remedy="" if option.secret else remedy,
    )


def printed(value: Any) -> str:
    """A value as a person can read it, whatever it is."""
    try:
        text = repr(value)
    except Exception:  # a number of more digits than Python prints, a list of too many levels
        text = type(value).__name__
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def kind_of(value: Any) -> str:
    """The plain type's name: Ansible marks the values that it read with types of its own."""
    plain = (bool, int, float, str, list, dict)
    return next((kind.__name__ for kind in plain if isinstance(value, kind)), "nothing" if value is None else "?")
