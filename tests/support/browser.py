"""Headless Chromium through its own driver: the W3C WebDriver protocol over HTTP, no library needed.

What Chromium is allowed to do is narrowed: no updates, no background network, a new empty profile each time.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

PROGRAMS = ("chromium", "chromedriver")
KEYS = {"Tab": "\ue004", "Right": "\ue014", "Left": "\ue012", "Enter": "\ue007"}
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-default-apps",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    "--autoplay-policy=no-user-gesture-required",
    "--hide-scrollbars",
)


def missing_programs() -> list[str]:
    """Those of Chromium and its driver that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@final
class Browser:
    """A window of Chromium; use as a context.

    Args:
        folder: for the profile and downloads.
        width, height: of the window's inside, CSS pixels.
        dark: what the system is said to prefer.
        mobile: a phone: touch, and a viewport as its meta element says.
        flags: more of Chromium's.
    """

    def __init__(
        self,
        folder: Path,
        width: int,
        height: int,
        dark: bool = False,
        mobile: bool = False,
        flags: Sequence[str] = (),
    ) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        self._folder, self._size, self._dark, self._mobile = folder, (width, height), dark, mobile
        self._flags = flags
        self._session = ""

    def __enter__(self) -> Browser:
        log = self._folder / "driver.log"
        with log.open("w") as said:
            self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=said, stderr=subprocess.STDOUT)
        try:
            self._base = f"http://127.0.0.1:{self._port(log)}/session"
            self._open()
        except BaseException:
            self._driver.kill()
            self._driver.wait()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait()

    def _port(self, log: Path) -> str:
        found: list[str] = []

        def started() -> bool:
            found[:] = re.findall(r"started successfully on port (\d+)", log.read_text())
            return bool(found)

        wait_until(started, "the driver did not start")
        return found[0]

    def _open(self) -> None:
        flags = [*_FLAGS, *self._flags, f"--user-data-dir={self._folder / 'profile'}"]
        options = {"binary": shutil.which("chromium"), "args": flags}
        options["prefs"] = {"download.default_directory": str(self.downloads)}
        logging = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logging}
        self._session = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        width, height = self._size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": self._mobile}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if self._dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def go(self, page: Path | str) -> None:
        """Load a file or an address and wait until it has loaded; forgets what went on before."""
        self._call("POST", "/url", {"url": "about:blank"})
        self.console(), self.requests()
        self._call("POST", "/url", {"url": page.as_uri() if isinstance(page, Path) else page})
        loaded = "return location.href !== 'about:blank' && document.readyState === 'complete'"
        wait_until(lambda: self.run(loaded), f"{page} does not load")  # the driver may answer before

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns; it sees `arguments`."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, selector: str) -> str:
        """The element of a CSS selector; an AssertionError when there is none."""
        found: str = self._call("POST", "/element", {"using": "css selector", "value": selector})[_ELEMENT]
        return found

    def click(self, selector: str) -> None:
        """Click as a mouse does: the element must be visible and not covered."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", {_ELEMENT: element})
        self._call("POST", f"/element/{element}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Type into an element."""
        self._call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def keys(self, *keys: str) -> None:
        """Press keys one after another, wherever the focus is."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, selector: str) -> str:
        """The text of an element as it is seen."""
        said: str = self._call("GET", f"/element/{self.find(selector)}/text")
        return said

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A PNG of the window, or of the whole page."""
        picture = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": whole})["data"]
        path.write_bytes(base64.b64decode(picture))

    def console(self) -> list[str]:
        """What the page and the browser complained about since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        messages = [json.loads(e["message"])["message"] for e in self._call("POST", "/se/log", {"type": "performance"})]
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]

    def _call(self, method: str, place: str, body: Any = None) -> Any:
        url = self._base + (f"/{self._session}" if self._session else "") + place
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                said = json.load(error)["value"]
            raise AssertionError(f"{method} {place}: {said['error']}: {said['message'].splitlines()[0]}") from None


def wait_until(true: Callable[[], object], otherwise: str, seconds: float = 20.0) -> None:
    """Wait for something; an AssertionError when it does not come."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(otherwise)
        time.sleep(0.05)
