"""Documentation that the collection's modules share."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and say what would change without changing it.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change, in diff mode.
    support: full
  platform:
    description: Where it runs.
    support: full
    platforms: posix
"""
    ROLES = r"""
options:
  settings:
    description: All variables of all roles for this host; filled in by the action plugin.
    type: dict
    default: {}
"""
    LOCK = r"""
options:
  controller:
    description:
      - Who asks, by which another controller is kept off the host meanwhile; filled in by the action plugin.
      - Nothing is locked without it, and in check mode.
    type: dict
    default: {}
"""
