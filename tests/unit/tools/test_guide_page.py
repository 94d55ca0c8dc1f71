"""docs/guide-mapping.md shows the files that a user with the guide's hardware gets."""

from __future__ import annotations

import pytest

from tests.unit.support.places import FIXTURES, ROOT


@pytest.mark.parametrize("name", ["train_blockmoving.sh", "blockmoving_sft.yaml"])
def test_the_page_shows_the_file_that_lands_on_the_host(name: str) -> None:
    page = (ROOT / "docs/guide-mapping.md").read_text()
    assert (FIXTURES / "run_config/the_guide_s_four_gpus" / name).read_text() in page
