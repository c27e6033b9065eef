"""The pictures of the demo in docs/guide/demo.md: `cd tests && python -m support.demo_pictures ../docs/figures`.

The page as `audiocodec demo` serves it, with its own sample, in headless Chromium; opus-tools must be installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from audiocodec import model_places
from audiocodec.demo.versions import model_versions, numbered, opus_versions
from support.browser import Browser, wait_until
from support.demo_server import serving

HEIGHTS = {"light": 1290, "dark": 695}  # pixels; the dark one begins at the spectrograms
TO_SPECTROGRAMS = """
const heading = [...document.querySelectorAll("h2, h3, summary, figcaption")].find((x) => x.textContent.startsWith("Spectrograms"));
scrollTo({top: heading.getBoundingClientRect().top + scrollY - 16, behavior: "instant"});
"""


def main(out: Path) -> None:
    """Take them."""
    models = [version for name in model_places.available() for version in model_versions(name)]
    opus, why = opus_versions()
    if why:
        raise SystemExit(why)
    with serving(numbered([*models, *opus])) as server, tempfile.TemporaryDirectory() as folder:
        for theme, height in HEIGHTS.items():
            with Browser(Path(folder) / theme, 1000, height, dark=theme == "dark") as browser:
                browser.go(server.address)
                browser.click("#sample")
                wait_until(lambda page=browser: "Done" in page.text("body"), "the page has not ended", 120)
                browser.run(TO_SPECTROGRAMS if theme == "dark" else "scrollTo(0, 0)")
                path = out / f"demo_{theme}.png"
                browser.screenshot(path)
                Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
