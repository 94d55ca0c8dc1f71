# SPDX-License-Identifier: Apache-2.0
"""What the report needs of the controller beside Ansible. Imported only when a report is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from ...module_utils.core.errors import FleetError
from ...module_utils.findings.finding import finding

NEEDED = {"jinja2": "jinja2", "matplotlib": "matplotlib", "numpy": "numpy", "PIL": "pillow", "scipy": "scipy"}


def require(find: Callable[[str], object] = importlib.util.find_spec) -> None:
    """Raises FleetError (CONTROLLER_PACKAGE_MISSING) with all that is lacking."""
    if lacking := [package for name, package in NEEDED.items() if find(name) is None]:
        found = f"no {', '.join(lacking)} in the Python of ansible-playbook"
        expected = "the packages of requirements.txt"
        raise FleetError.of(finding("CONTROLLER_PACKAGE_MISSING", found=found, expected=expected))
