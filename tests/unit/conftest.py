"""The collection is found by Ansible in every test."""

from __future__ import annotations

from tests.finder import install

install()
