"""Build what would be released and check it as an index and a user would: `make release-check`.

    python .ci/release_check.py [PIP_OPTION ...]

Writes wheel and source distribution to `dist/`, and checks: version and changelog (and the tag, in RELEASE_TAG), metadata
(twine), sizes, the README as an index renders it, and that the wheel, installed with the pinned versions into an empty
environment, encodes and decodes, without torch and with it, to the same tokens. PIP_OPTIONs go to these installations.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

from readme_renderer import markdown

CHECKOUT = Path(__file__).parents[1]
DIST = CHECKOUT / "dist"
SPEECH = CHECKOUT / "egs/mini/codec/local/audio/it-flora/vm-mismatch.flac"
MB = 1e6
LIMITS = {"a file": 100 * MB, "a model": 40 * MB}  # the first is the index's
MODEL = re.compile(r"audiocodec/pretrained/([^/]+)/")


class Refused(Exception):
    """Something that must not be released."""


def say(text: str) -> None:
    """A line of what was found."""
    print(text, flush=True)


def require(true: object, otherwise: str) -> None:
    """Refuse unless it is true."""
    if not true:
        raise Refused(otherwise)


def build() -> tuple[Path, Path]:
    """Wheel and source distribution, the wheel made from the latter."""
    shutil.rmtree(DIST, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "build", "--outdir", DIST, CHECKOUT], check=True, stdout=subprocess.DEVNULL)
    return next(DIST.glob("*.whl")), next(DIST.glob("*.tar.gz"))


def check_version(version: str, tag: str | None) -> None:
    """The changelog has the version; a tag is the version, which has a date then."""
    heading = re.search(rf"^## \[{re.escape(version)}\] - (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(), re.MULTILINE)
    if heading is None:
        raise Refused(f"CHANGELOG.md has no heading for {version}")
    if tag:
        require(tag == f"v{version}", f"the tag is {tag}, the version {version}")
        require(re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading[1]), f"CHANGELOG.md: {version} has no date: {heading[1]!r}")
        for name in ("README.md", "docs/guide/install.md"):
            text = " ".join((CHECKOUT / name).read_text().split())
            require("no release on a package index yet" not in text, f"{name} says that there is no release")
    say(f"version {version}, in CHANGELOG.md: {heading[1]}")


def check_metadata(files: tuple[Path, Path], wheel: Path) -> str:
    """What twine says, and the README as HTML; returns the version."""
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *files], check=True)
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(name))
    text = metadata.get_payload(decode=True).decode()  # type: ignore[union-attr]
    page = markdown.render(text)
    require(page, "README.md: cannot be rendered")
    addresses = re.findall(r'(?:href|src)="([^"]+)"', page)
    relative = [address for address in addresses if not address.startswith(("https://", "#"))]
    require(not relative, f"README.md: links that an index cannot follow: {relative}")
    require("<table>" in page and "<img" in page and "<pre" in page, "README.md: table, picture or code is lost")
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    require(setup["metadata"]["author"] == metadata["Author"], "the author is not that of setup.cfg")
    say(f"README: {len(page):,} bytes of HTML, {len(addresses)} links and pictures, all absolute")
    return metadata["Version"]


def check_sizes(files: tuple[Path, Path], wheel: Path) -> None:
    """Bytes of the files, and of each model in the wheel."""
    for file in files:
        size = file.stat().st_size
        say(f"{file.name}: {size / MB:.1f} MB")
        require(
            size < LIMITS["a file"], f"{file.name} has {size / MB:.1f} MB, an index takes {LIMITS['a file'] / MB:.0f}"
        )
    models: dict[str, int] = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            if found := MODEL.match(entry.filename):
                models[found[1]] = models.get(found[1], 0) + entry.file_size
    require(models, f"{wheel.name} holds no model")
    for name, size in models.items():
        say(f"model {name}: {size / MB:.1f} MB")
        require(size < LIMITS["a model"], f"{name} has {size / MB:.1f} MB, more than {LIMITS['a model'] / MB:.0f}")


def try_out(wheel: Path, extra: str, folder: Path, options: list[str]) -> bytes:
    """Install into an empty environment, encode and decode there; returns the token file."""
    venv.create(folder / "environment", with_pip=True)
    python = folder / "environment" / "bin" / "python"
    what = f"{wheel}[{extra}]" if extra else str(wheel)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", CHECKOUT / "constraints.txt"]
    if extra == "torch":  # a machine that has another build of torch than the index may name it in the options
        subprocess.run([*pip, *options, "torch"], check=True)
    subprocess.run([*pip, *options, what], check=True)
    command = python.with_name("audiocodec")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for words in (["encode", SPEECH, "-o", "a.act"], ["decode", "a.act", "-o", "a.wav"]):
        subprocess.run([command, *words, "--quiet"], cwd=folder, env=environment, check=True)
    require((folder / "a.wav").stat().st_size > 1000, "the decoded file is empty")
    code = "import importlib.util as u; print(u.find_spec('torch') is not None)"
    has = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    require(has == str(extra == "torch"), f"torch is there: {has}, with the extra {extra!r}")
    say(f"installed {'with [' + extra + ']' if extra else 'alone'}: encodes and decodes")
    return (folder / "a.act").read_bytes()


def main(options: list[str]) -> int:
    """All checks; the exit status."""
    try:
        wheel, sdist = build()
        version = check_metadata((wheel, sdist), wheel)
        check_version(version, os.environ.get("RELEASE_TAG"))
        check_sizes((wheel, sdist), wheel)
        with tempfile.TemporaryDirectory() as folder:
            tokens = []
            for extra in ("", "torch"):
                place = Path(folder) / (extra or "alone")
                place.mkdir()
                tokens.append(try_out(wheel, extra, place, options))
        require(tokens[0] == tokens[1], "the tokens with torch are not those without")
        say("the tokens are the same with and without torch")
    except (Refused, subprocess.CalledProcessError) as error:
        print(f"release-check: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
