# SPDX-License-Identifier: Apache-2.0
"""Reads what the variables of a host no longer tell: which group gave a value, and which ones the host gave itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.vars.plugins import get_vars_from_inventory_sources


def given_by_host(variables: Mapping[str, Any]) -> set[str]:
    """Names that stand for a host's own answers: by Ansible's default, facts are variables and win over the
    inventory's."""
    return set(variables.get("ansible_facts") or ()) if vars(constants)["INJECT_FACTS_AS_VARS"] else set()


def given_by_groups(task: Any, host: str, name: str) -> dict[str, Any]:
    """Raw values of a variable by group, where groups beside each other give it and the host itself does not.

    A group's own children may give another value on purpose; so may the host.
    """
    manager = task.get_variable_manager()
    inventory = manager._inventory
    member = inventory.get_host(host)

    def own(entity: Any) -> dict[str, Any]:
        files = get_vars_from_inventory_sources(manager._loader, inventory._sources, [entity], "all")
        return {**entity.vars, **files}

    if name in own(member):
        return {}
    giving = {group: own(group)[name] for group in member.get_groups() if name in own(group)}
    return {group.name: value for group, value in giving.items() if not set(group.get_descendants()) & set(giving)}
