"""The collection is found by Ansible in every test."""

from __future__ import annotations

import hypothesis
import pytest

from tests.finder import install

install()
hypothesis.settings.register_profile("loaded", deadline=None)  # other tests run beside these
hypothesis.settings.load_profile("loaded")


@pytest.fixture(autouse=True)
def no_secret_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process hides every secret that it was given once; the next test is another process's."""
    from ansible_collections.canvas.fleet.plugins.module_utils.core import masking

    monkeypatch.setattr(masking, "_known", set())
    monkeypatch.setattr(masking, "_grams", set())
