"""Wheel and source distribution: what they hold, what they state, and that the wheel works where it is installed alone."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from support.light import make_environment
from support.workspace import copy_of, run

import audiocodec

LIMIT = 100e6  # bytes of a file on the package index
LINK = re.compile(r"\]\(([^)#]+)")


@dataclass(frozen=True)
class Built:
    """The two files, and the checkout that they were built from."""

    wheel: Path
    sdist: Path
    checkout: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built as `python -m build` does: the wheel from the source distribution."""
    folder = tmp_path_factory.mktemp("build")
    checkout = copy_of(folder / "checkout")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, checkout], folder)
    return Built(next(folder.glob("*.whl")), next(folder.glob("*.tar.gz")), checkout)


def test_the_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = built.checkout / "audiocodec"
    assert names == {str(path.relative_to(built.checkout)) for path in package.rglob("*") if path.is_file()}
    assert {"audiocodec/configs/simvq_24k.yaml", "audiocodec/pretrained/speech_24k/model.safetensors"} <= names
    assert built.wheel.stat().st_size < LIMIT


def test_the_source_distribution_can_be_tested(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in ("tests", "docs", "recipes", "egs/mini", "benchmarks", "audiocodec"):
        here = {
            str(path.relative_to(built.checkout)) for path in (built.checkout / folder).rglob("*") if path.is_file()
        }
        assert here and here <= names
    assert {"CHANGELOG.md", "LICENSE", "Makefile", "constraints.txt", "ruff.toml", ".ci/run"} <= names
    assert built.sdist.stat().st_size < LIMIT


def test_the_metadata_are_valid_and_complete(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = wheel.namelist()
        text = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
    metadata = Metadata.from_email(text, validate=True)
    assert (metadata.name, str(metadata.version)) == ("audiocodec", audiocodec.__version__)
    assert metadata.author and metadata.summary and metadata.keywords
    assert {"Source", "Changelog", "Issues"} <= set(metadata.project_urls or {})
    classifiers = metadata.classifiers or []
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)} <= set(classifiers)
    assert any(name.endswith("LICENSE") for name in names)
    assert metadata.description_content_type == "text/markdown"
    links = LINK.findall(metadata.description or "")
    assert len(links) > 5 and all(link.startswith("https://") for link in links)


def test_links_of_the_readme_lead_to_files(built: Built) -> None:
    relative = [link for link in LINK.findall((built.checkout / "README.md").read_text()) if "://" not in link]
    assert len(relative) > 5 and all((built.checkout / link).exists() for link in relative)


def test_the_wheel_works_where_it_is_installed_alone(built: Built, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "environment", ["numpy", "soundfile", "soxr", "onnxruntime", "safetensors"])
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", "--quiet"]
    subprocess.run([str(word) for word in [*pip, built.wheel]], check=True)
    speech = next((built.checkout / "egs/mini/codec/local/audio").rglob("*.flac"))
    command = python.with_name("audiocodec")
    run([command, "encode", speech, "-o", "a.act", "--quiet"], tmp_path)
    run([command, "decode", "a.act", "-o", "a.wav", "--quiet"], tmp_path)
    assert "speech_24k" in run([command, "info"], tmp_path).stdout
    found = run([python, "-c", "import audiocodec; print(audiocodec.__file__)"], tmp_path).stdout
    assert str(tmp_path / "environment") in found and (tmp_path / "a.wav").stat().st_size > 1000
