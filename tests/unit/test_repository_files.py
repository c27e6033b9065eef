"""The files around the code: that they agree with each other, name what exists, and can be read by those they are for."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import audiocodec

CHECKOUT = Path(__file__).parents[2]
WORKFLOWS = sorted((CHECKOUT / ".github/workflows").glob("*.yml"))
# Where the version stands, besides audiocodec/__init__.py.
VERSIONS = {
    "CITATION.cff": r"^version: (\S+)$",
    "CHANGELOG.md": r"^## \[([^]]+)\]",
    "conda/meta.yaml": r'set version = "([^"]+)"',
    "docs/cite.md": r"version = \{([^}]+)\}",
}


def text(name: str) -> str:
    return (CHECKOUT / name).read_text(encoding="utf-8")


def setup_cfg() -> configparser.ConfigParser:
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg", encoding="utf-8")
    return setup


@pytest.mark.parametrize("name", VERSIONS)
def test_the_version_is_the_same_everywhere(name: str) -> None:
    found = re.search(VERSIONS[name], text(name), re.MULTILINE)
    assert found and found[1] == audiocodec.__version__


def test_the_citation_is_valid() -> None:
    held = yaml.safe_load(text("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors", "type", "version", "license"} <= set(held)
    assert held["cff-version"] == "1.2.0" and held["type"] == "software" and held["license"] == "Apache-2.0"
    assert [author["name"] for author in held["authors"]] == [setup_cfg()["metadata"]["author"]]
    assert setup_cfg()["metadata"]["author"] in text("docs/cite.md")
    for work in held["references"]:
        assert {"type", "title", "authors"} <= set(work)
        assert all({"family-names", "given-names"} == set(author) for author in work["authors"])


def test_the_changelog_keeps_the_format() -> None:
    allowed = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    changes = text("CHANGELOG.md")
    assert set(re.findall(r"^### (.+)$", changes, re.MULTILINE)) <= allowed
    heads = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - (unreleased|never released|\d{4}-\d\d-\d\d)", head) for head in heads)


# --- workflows


def steps(workflow: Path) -> list[dict[str, Any]]:
    """All steps of a workflow's jobs."""
    held = yaml.safe_load(workflow.read_text(encoding="utf-8"))
    return [step for job in held["jobs"].values() for step in job["steps"]]


def targets() -> set[str]:
    """What `make` can be told to do."""
    phony = re.search(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)
    assert phony
    return set(phony[1].split())


def test_there_are_workflows_for_tests_docs_and_releases() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_commands_exist(workflow: Path) -> None:
    assert yaml.safe_load(workflow.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
    for step in steps(workflow):
        assert len({"uses", "run"} & set(step)) == 1, step
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        else:
            assert set(re.findall(r"\bmake ([\w-]+)", step["run"])) <= targets(), step["run"]
    used = re.findall(r"uses: \S+(.*)", workflow.read_text(encoding="utf-8"))
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", comment) for comment in used)  # which version the hash is


def test_every_python_that_is_promised_is_tested() -> None:
    held = yaml.safe_load((CHECKOUT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    tested = held["jobs"]["tests"]["strategy"]["matrix"]["python"]
    promised = re.findall(r"Python :: (3\.\d+)", setup_cfg()["metadata"]["classifiers"])
    assert tested == promised == ["3.10", "3.11", "3.12", "3.13", "3.14"]


def test_skips_are_checked_where_tests_run() -> None:
    runs = [step.get("run", "") for step in steps(CHECKOUT / ".github/workflows/tests.yml")]
    tested = [run.splitlines() for run in runs if "make test" in run]
    assert [lines[0].split()[1] for lines in tested] == ["test", "test-recipes"]
    for make, check in tested:
        report = make.partition("PYTEST_ARGS=--junitxml=")[2]
        assert report and check == f"python3 .ci/check_skips.py {report} .ci/allowed_skips.txt"


def test_a_release_goes_to_testpypi_first_and_stores_no_token() -> None:
    path = CHECKOUT / ".github/workflows/release.yml"
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert (jobs["testpypi"]["needs"], jobs["pypi"]["needs"]) == ("build", "testpypi")
    assert "make release-check" in [step.get("run") for step in jobs["build"]["steps"]]
    for name in ("testpypi", "pypi"):
        assert jobs[name]["permissions"] == {"id-token": "write"} and jobs[name]["environment"] == name
        upload = jobs[name]["steps"][-1]
        assert upload["uses"].startswith("pypa/gh-action-pypi-publish@") and upload["with"]["attestations"] is True
    assert "secrets." not in path.read_text(encoding="utf-8")
    guard, upload = jobs["testpypi"]["steps"][-2:]
    assert upload["with"]["repository-url"] == guard["env"]["UPLOAD_URL"] == "${{ vars.UPLOAD_URL }}"
    for address, status in (("https://test.index.example/upload/", 0), ("https://upload.index.example/", 1), ("", 1)):
        done = subprocess.run(
            ["bash", "-c", guard["run"]], env={"UPLOAD_URL": address, "PATH": os.environ["PATH"]}, check=False
        )
        assert done.returncode == status, address


# --- forms, hooks, containers


@pytest.mark.parametrize("name", ["bug.yml", "feature.yml"])
def test_issue_forms_have_what_the_forge_wants(name: str) -> None:
    form = yaml.safe_load(text(f".github/ISSUE_TEMPLATE/{name}"))
    assert {"name", "description", "body"} <= set(form)
    assert all(item["type"] == "textarea" and item["id"] and item["attributes"]["label"] for item in form["body"])


def test_hooks_run_the_linters_of_make_lint() -> None:
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    programs = {hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks}
    assert programs == {"ruff", "shellcheck"}
    assert all(f"$(BIN)/{program}" in text("Makefile") for program in programs)


def test_the_dockerfile_copies_what_exists_and_has_both_targets() -> None:
    lines = text("Dockerfile").splitlines()
    stages = [line.split()[-1] for line in lines if line.startswith("FROM ")]
    assert {"cpu", "cuda"} <= set(stages)
    assert all(line.split()[1] in (*stages, "python:3.12-slim-bookworm") for line in lines if line.startswith("FROM "))
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    ignored = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert copied and all((CHECKOUT / name).exists() and name in ignored for name in copied)
    extras = re.findall(r'"\.\[([^]]+)\]"', text("Dockerfile"))
    assert extras and all(set(e.split(",")) <= set(setup_cfg()["options.extras_require"]) for e in extras)


def test_the_conda_recipe_asks_for_what_the_package_asks_for() -> None:
    recipe = text("conda/meta.yaml")
    run = re.search(r"  run:\n((?:    - .+\n)+)", recipe)
    assert run
    theirs = dict(line.partition(" ")[::2] for line in re.findall(r"- (.+)", run[1]))
    names = {"pysoundfile": "soundfile", "soxr-python": "soxr"}  # what conda-forge calls them
    found = {names.get(name, name): version for name, version in theirs.items() if name != "python"}
    wanted = re.findall(r"^([\w-]+)(\S*)$", setup_cfg()["options"]["install_requires"], re.MULTILINE)
    assert found == dict(wanted) and theirs["python"] == setup_cfg()["options"]["python_requires"]
