"""Check the links inside the built site: `python -m tools.links HTML` in `docs/`.

Every reference to a page, a place on a page, a picture or a script must lead somewhere. Addresses of other sites are not
followed: that needs the network.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page refers to, and the places on it.

    Attributes:
        links: (line, address).
        places: what may stand after `#`.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[int, str]] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places |= {value for key in ("id", "name") if (value := given.get(key))}
        address = given.get("href" if tag in ("a", "link") else "src")
        if address:
            self.links.append((self.getpos()[0], address))


def broken(folder: Path) -> list[str]:
    """A line for each link below `folder` that leads nowhere."""
    found = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    lines = []
    for path, page in found.items():
        for line, address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in found and place not in found[target].places):
                lines.append(f"{path.relative_to(folder)}:{line}: {address}")
    return lines


if __name__ == "__main__":
    root = Path(sys.argv[1]).resolve()
    problems = broken(root)
    print("\n".join([*problems, f"{len(problems)} broken links in {sum(1 for _ in root.rglob('*.html'))} pages"]))
    sys.exit(bool(problems))
