"""The collection's version, for what is written on hosts (galaxy.yml is not there; a test compares the two)."""

from __future__ import annotations

VERSION = "0.1.0"
