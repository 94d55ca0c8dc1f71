"""Whole inventories, mutated: what is wrong is refused, what is right is not."""

from tests.finder import install

install()
