"""The Chinese of what is made from code: docs/zh/findings.yml and docs/zh/variables.yml, each text with the mark of the
English one that it translates. A text whose English has changed counts as missing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent / "zh"


def mark(*english: str) -> str:
    """The beginning of a digest, as `of` in the files."""
    return hashlib.sha256("\n".join(english).encode()).hexdigest()[:8]


def load(name: str) -> dict[str, Any]:
    """The translations of a file, by code or by variable."""
    return dict(yaml.safe_load((FOLDER / f"{name}.yml").read_text()) or {})


def chosen(translated: Mapping[str, Any], key: str, **english: str) -> dict[str, str]:
    """Each text in Chinese, or in English where the translation is missing or older than the English."""
    found = translated.get(key) or {}
    return {
        **english,
        **({name: found[name] for name in english} if found.get("of") == mark(*english.values()) else {}),
    }
