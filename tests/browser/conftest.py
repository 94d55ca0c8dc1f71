"""Debian's chromium without a window, at a width and in a light or dark scheme, and pages to open in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.canvas.fleet.plugins.plugin_utils.evaluation_report import page, summary
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from demo import browser
from demo.steps import REPORTS
from tests.finder import install
from tests.unit.evaluation_report.test_page import HOSTILE, hostile
from tests.unit.support import evaluations

install()
PHONE, DESK = 390, 1280  # pixels
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--force-device-scale-factor=1", "--lang=en-US")


@dataclass
class View:
    """The browser and the page that it shows."""

    driver: Any
    page: Path

    def open(self, width: int = DESK, dark: bool = False, language: str = "en") -> View:
        scheme = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.get("about:blank")
        self.driver.get(f"{self.page.as_uri()}#{language}")
        return self

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector: str) -> int:
        """How many of them a person can see."""
        return sum(one.is_displayed() for one in self.all(selector))

    def picture(self, name: str) -> None:
        REPORTS.mkdir(exist_ok=True)
        self.driver.save_screenshot(str(REPORTS / f"page-{name}.png"))


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    assert browser.missing() == [], "run .venv/bin/python -m demo.browser"
    options = Options()
    options.binary_location = browser.BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in ARGUMENTS:
        options.add_argument(argument)
    with Chrome(options=options, service=Service(browser.DRIVER)) as made:
        yield made


def written(folder: Path, run: str) -> Path:
    data = summary.collected(str(folder))
    path = folder.parent / "index.html"
    path.write_text(page.page(str(folder), data, summary.evaluation(run, data)))
    return path


@pytest.fixture(scope="session")
def view(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> View:
    """Twelve puzzles, the base and three checkpoints."""
    folder = tmp_path_factory.mktemp("report") / "data"
    evaluations.write(folder, 12)
    shutil.move(folder.parent / "losses.csv", folder / "losses.csv")
    return View(driver, written(folder, "blockmoving"))


@pytest.fixture(scope="session")
def hostile_view(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> View:
    """A page whose every text is hostile."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    hostile(folder)
    return View(driver, written(folder, HOSTILE))
