"""Collect the sources of the site in one folder: `python -m tools.stage BUILD` in `docs/`.

The Markdown files stay readable on a forge. Copies of them go where the site has them, and their links follow: to the page
of the site where there is one, else to the file on the forge. Pages that are made of the code (commands, Python) are
written beside them.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import sys
from pathlib import Path

from tools import commands, python_api

CHECKOUT = Path(__file__).parents[2]
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)((?:#[^)\s]*)?\))")
ONLY_HERE = re.compile(r"<!-- site: (.*?) -->", re.DOTALL)  # what a forge hides
FENCE = re.compile(r"^( *)(```+|~~~+)", re.MULTILINE)
PICTURES = {".png", ".svg", ".jpg"}
SAMPLES = "samples/report.html"
# Pages whose sidebar has every page of a folder below them.
LISTS = {
    name: f"```{{toctree}}\n:hidden:\n:glob:\n\n{pattern}\n```\n"
    for name, pattern in {"models.md": "models/*", "recipes.md": "recipes/*", "decisions/README.md": "[0-9]*"}.items()
}
MADE = {f"docs/{place}": place for place in (f"{commands.FOLDER}/index.md", python_api.PAGE)}
NO_SAMPLES = "This copy of the site was built without the page: `make samples docs` makes both."


def pages(root: Path) -> dict[str, str]:
    """Where each Markdown file of the checkout lies on the site, both as paths from their roots."""
    found = {str(path.relative_to(root)): str(path.relative_to(root / "docs")) for path in root.glob("docs/**/*.md")}
    found |= {name: name.lower() for name in ("CHANGELOG.md", "CONTRIBUTING.md")}
    for card in root.glob("audiocodec/pretrained/*/CARD.md"):
        found[str(card.relative_to(root))] = f"models/{card.parent.name}.md"
    for path in [*root.glob("egs/*/codec/*.md"), *root.glob("egs/*/*.md")]:
        recipe = path.relative_to(root / "egs").parts[0]
        found[str(path.relative_to(root))] = f"recipes/{recipe}_{path.stem.lower()}.md"
    return dict(sorted(found.items()))


def forge(root: Path) -> str:
    """The address of the repository: the one place that has it is `setup.cfg`."""
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg", encoding="utf-8")
    return setup["metadata"]["url"]


def with_links(text: str, source: str, places: dict[str, str], root: Path) -> tuple[str, set[str]]:
    """The text with links that work on the site, and the pictures of the checkout that it shows."""
    pictures: set[str] = set()

    def follow(match: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(os.path.dirname(source), match[2]))
        here = os.path.dirname(places[source])
        if target in MADE:
            return f"{match[1]}{os.path.relpath(MADE[target], here)}{match[3]}"
        if not (root / target).exists():
            raise SystemExit(f"{source}: {match[2]}: no such file")
        if target in places:
            return f"{match[1]}{os.path.relpath(places[target], here)}{match[3]}"
        if Path(target).suffix in PICTURES:
            pictures.add(target)
            return f"{match[1]}{os.path.relpath(picture_place(target), here)}{match[3]}"
        kind = "tree" if (root / target).is_dir() else "blob"
        return f"{match[1]}{forge(root)}/{kind}/main/{target}{match[3]}"

    linked = "".join(part if code else LINK.sub(follow, part) for code, part in _parts(text))
    return ONLY_HERE.sub(r"\1", linked), pictures


def picture_place(target: str) -> str:
    """Where a picture of the checkout lies on the site: two of the same name stay apart."""
    return "figures/" + (Path(target).name if target.startswith("docs/figures/") else target.replace("/", "_"))


def _parts(text: str) -> list[tuple[bool, str]]:
    """A Markdown text in pieces: (is it a fenced block, the piece)."""
    parts, at, end = [], 0, None
    for match in FENCE.finditer(text):
        if end is None:
            parts.append((False, text[at : match.start()]))
            at, end = match.start(), match[2]
        elif match[2].startswith(end):
            line = text.find("\n", match.end()) + 1 or len(text)
            parts.append((True, text[at:line]))
            at, end = line, None
    return [*parts, (end is not None, text[at:])]


def stage(root: Path, out: Path) -> None:
    """Write the sources of the site to `out`, which is emptied first; `out/../samples` may hold the samples page."""
    shutil.rmtree(out, ignore_errors=True)
    places, pictures = pages(root), set()
    for source, place in places.items():
        text, shown = with_links((root / source).read_text(encoding="utf-8"), source, places, root)
        pictures |= shown
        _write(out / place, _with_samples(text, out.parent) if place == "samples.md" else text)
    for picture in pictures:
        (out / picture_place(picture)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / picture, out / picture_place(picture))
    for name, text in {**commands.pages(), python_api.PAGE: python_api.page()}.items():
        _write(out / name, text)
    contents = listed((root / "docs" / "tools" / "contents.txt").read_text(encoding="utf-8"), places)
    for name, tree in {"index.md": contents, **LISTS}.items():
        with (out / name).open("a", encoding="utf-8") as page:
            page.write("\n" + tree)


def listed(contents: str, places: dict[str, str]) -> str:
    """The contents, with every page of a folder that they do not name where they say `folder/*`."""
    named = set(contents.split())
    pages_left = [place.removesuffix(".md") for place in sorted(places.values())]

    def rest(match: re.Match[str]) -> str:
        return "\n".join(page for page in pages_left if page.startswith(match[1]) and page not in named)

    return re.sub(r"^(\w+/)\*$", rest, contents, flags=re.MULTILINE)


def _with_samples(text: str, build: Path) -> str:
    """The page about samples, with a link to them where `make samples` has made them."""
    made = (build / "extra" / SAMPLES).is_file()
    link = f'<a href="{SAMPLES}">Open the samples page</a>' if made else NO_SAMPLES
    return text.replace("<!-- the link is set when the site is built -->", link)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stage(CHECKOUT, Path(sys.argv[1]) / "source")
