"""Debian's chromium with its driver, and letters of Chinese, for the tests of the report's page.

python -m demo.browser      installs what is not there

It is a step of the tests and no package of bootstrap.sh: `make demo` needs no browser.
"""

from __future__ import annotations

import os
import shutil
import subprocess

BROWSER, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
LETTERS = "/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
PACKAGES = {BROWSER: "chromium", DRIVER: "chromium-driver", LETTERS: "fonts-wqy-microhei"}
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")


def missing() -> list[str]:
    """Packages whose files are not there."""
    return [package for path, package in PACKAGES.items() if not os.path.exists(path)]


def ensure() -> None:
    """Raises CalledProcessError where a package cannot be had."""
    if not (lacking := missing()):
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (("update",), ("install", "--no-install-recommends", *lacking)):
        subprocess.run([shutil.which(APT[0]) or APT[0], *APT[1:], *words], check=True, env=env)


if __name__ == "__main__":
    ensure()
