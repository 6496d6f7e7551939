"""Chromium without a window, driven by Selenium: what a person sees of a page, and can do there."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.conftest import do_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from selenium.webdriver import Chrome

AXE = Path(sys.prefix, "axe", "axe_playwright_python", "axe.min.js")
"""axe-core, as scripts/check brings it."""
HASTE = 20
"""How much faster than the clock the page's timers go in a test."""

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # for root, and in a user namespace
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--ignore-certificate-errors",  # those of tests are signed by nobody
)
_HASTEN = f"""
const later = window.setTimeout;
window.setTimeout = (call, delay, ...rest) => later(call, delay / {HASTE}, ...rest);
"""


class Browser:
    """A browser; `close` ends it.  *need* finds a program or skips the test.

    It is hasty: timers of pages wait a part of their time, unless *patient*.  *more* are options of
    its command line.
    """

    def __init__(
        self,
        need: Callable[[str], str],
        directory: Path,
        *more: str,
        patient: bool = False,
    ) -> None:
        options = webdriver.ChromeOptions()
        for option in (*_OPTIONS, f"--user-data-dir={directory}", *more):
            options.add_argument(option)
        options.binary_location = need("chromium")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = Service(need("chromedriver"))
        self.driver: Chrome = webdriver.Chrome(options=options, service=service)
        if not patient:
            self._do("Page.addScriptToEvaluateOnNewDocument", source=_HASTEN)
        self.width(1400)

    def close(self) -> None:
        self.driver.quit()

    def _do(self, command: str, **arguments: Any) -> dict[str, Any]:
        result: dict[str, Any] = self.driver.execute_cdp_cmd(command, arguments)
        return result

    # -- what it shows -----------------------------------------------------------------------

    def open(self, url: str) -> None:
        self.driver.get(url)

    def width(self, pixels: int) -> None:
        """Have a window as wide as that."""
        size = {"width": pixels, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Have a system with light or dark colours."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._do("Emulation.setEmulatedMedia", features=features)

    def text(self, selector: str) -> str:
        """Return the text that is seen of the first element of *selector*."""
        return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)

    def rows(self, section: str) -> list[list[str]]:
        """Return the texts in the cells of the table in *section*."""
        script = """
            const rows = document.querySelectorAll(`#${arguments[0]} tbody tr`);
            return [...rows].map((row) => [...row.cells].map((cell) => cell.textContent));
        """
        found: list[list[str]] = self.run(script, section)
        return found

    def is_shown(self, selector: str) -> bool:
        return bool(self.driver.find_element(By.CSS_SELECTOR, selector).is_displayed())

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what *script* returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Return what the browser has to say about the page since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def picture(self, file: Path, width: int = 1400) -> None:
        """Write a PNG file of the whole page."""
        self.width(width)
        height = self.run("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self._do("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        file.write_bytes(base64.b64decode(shot["data"]))

    # -- what a person does ------------------------------------------------------------------

    def press(self, *keys: str) -> None:
        """Press *keys*, names of `Keys`, one after the other."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(getattr(Keys, key))

    def focus(self) -> str:
        """Return the id, label or text of the element that has the focus."""
        found: str = self.run(
            """
            const one = document.activeElement;
            return one.id || one.getAttribute("aria-label") || one.textContent.trim();
            """
        )
        return found

    def violations(self) -> list[str]:
        """Return the violations of accessibility that axe-core finds, with the elements."""
        if not AXE.exists():
            do_without("axe-core is not there: scripts/check installs it")
        self.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text()})
        found = self.driver.execute_async_script(
            """
            const done = arguments[0];
            axe.run({resultTypes: ["violations"]}).then(({violations}) => done(
                violations.flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`))));
            """
        )
        return list(found)
