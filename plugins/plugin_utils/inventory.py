# SPDX-License-Identifier: Apache-2.0
"""Reads what the variables of a host no longer tell: which group gave a value, and which ones the host gave itself."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible import constants
from ansible.parsing.dataloader import DataLoader
from ansible.vars.plugins import get_vars_from_inventory_sources

from ..module_utils.system import folders


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


def unread_files(sources: Iterable[str], hosts: Collection[str], groups: Collection[str]) -> Iterator[tuple[str, str]]:
    """Files and folders of variables beside the inventory that Ansible reads for nobody, each with the nearest name."""
    bases = dict.fromkeys(place if os.path.isdir(place) else os.path.dirname(place) for place in sources)
    for base in bases:
        for kind, names in (("host_vars", hosts), ("group_vars", groups)):
            folder = os.path.join(base, kind)
            if os.path.isdir(folder):
                yield from _unread(folder, names)


def _unread(folder: str, names: Collection[str]) -> Iterator[tuple[str, str]]:
    loader = DataLoader()
    read = {path for name in names for path in loader.find_vars_files(folder, name)}
    for entry in folders.names(folder):
        path, (stem, ending) = os.path.join(folder, entry), os.path.splitext(entry)
        is_folder = os.path.isdir(path)
        known = entry in names if is_folder else path in read
        if (
            known
            or entry.startswith(".")
            or not (is_folder or ending in ("", *vars(constants)["YAML_FILENAME_EXTENSIONS"]))
        ):
            continue
        near = difflib.get_close_matches(entry if is_folder else stem, names, n=1, cutoff=0.5)
        yield path, near[0] if near else ""
