"""Models by `org/name`: names, downloads, the cache and uploads, against a hub of the tests' own on this machine."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants
from safetensors.numpy import save_file
from support.hub_server import Hub, serving, use
from support.priors import CODEC, random_network

import audiocodec
from audiocodec import Codec, FingerprintMismatch, HubError, UsageError, hub, model_file, models
from audiocodec.cli.main import main
from audiocodec.hub import Repository, parse
from audiocodec.publishing import save_pretrained
from audiocodec.tokens import priors
from audiocodec.tokens.prior import Prior

NAME = "org/codec"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty hub, which this process asks; the cache is empty, too."""
    with serving() as found:
        use(found, tmp_path / "cache", monkeypatch)
        monkeypatch.chdir(tmp_path)
        yield found


@pytest.fixture(scope="module")
def pushed(tiny_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the repository of the tiny model."""
    return audiocodec.load(tiny_model_path, runtime="torch").save_pretrained(
        tmp_path_factory.mktemp("pushed") / "folder"
    )


@pytest.fixture(scope="module")
def fingerprint(tiny_model_path: Path) -> str:
    return model_file.describe(tiny_model_path).fingerprint


def prior_of(codec: str) -> Prior:
    made = random_network((16, 24)).export()
    return Prior(replace(made.config, codec=codec), made.tensors)


def left_in(cache: Path) -> list[str]:
    """Files of the cache that are no locks and say nothing about repositories."""
    kinds = ("blobs/", "snapshots/", ".incomplete")
    return [str(path) for path in cache.rglob("*") if path.is_file() and any(kind in str(path) for kind in kinds)]


def changed(pushed: Path, to: Path, **files: bytes) -> Path:
    """A copy of the folder with other files in it."""
    shutil.copytree(pushed, to)
    for name, data in files.items():
        (to / name.replace("__", ".")).write_bytes(data)
    return to


# --- names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("org/name", Repository("org/name")),
        ("org/name@v1.0", Repository("org/name", "v1.0")),
        ("org/name@refs/pr/1", Repository("org/name", "refs/pr/1")),
        ("org/name#0123456789abcdef", Repository("org/name", None, "0123456789abcdef")),
        ("org/name@v1#0123456789abcdef", Repository("org/name", "v1", "0123456789abcdef")),
        ("speech_24k", None),
        ("speech_24k_residual@2", None),
        ("a/b/c", None),
        ("/org/name", None),
        ("./name", None),
        ("../name", None),
        ("org/name.safetensors", None),
        ("org/name#0123", None),
        ("org/", None),
        ("org/na me", None),
        ("", None),
    ],
)
def test_what_is_a_repository(
    text: str, found: Repository | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse(text) == found


def test_what_is_here_wins(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "exp" / "first").mkdir(parents=True)
    shutil.copy(tiny_model_path, tmp_path / "exp" / "first" / "model.safetensors")
    assert parse("exp/first") is None and parse("exp/frist") is None and parse("org/first") is not None
    assert str(audiocodec.load("exp/first").fingerprint.hex()) == model_file.describe(tiny_model_path).fingerprint
    with pytest.raises(audiocodec.CheckpointError, match="exp/frist: no such model; give a .safetensors file"):
        audiocodec.load("exp/frist")


# --- a repository as it should be


def test_a_model_is_loaded_by_name_and_kept(server: Hub, pushed: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    server.add(NAME, pushed)
    wav = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    expected = audiocodec.load(tiny_model_path).encode(wav)
    for runtime in ("torch", "onnx"):
        np.testing.assert_array_equal(audiocodec.load(NAME, runtime=runtime).encode(wav), expected)
    fetched = [line for line in server.asked if line.startswith("GET") and line.endswith("model.safetensors")]
    assert len(fetched) == 1  # the second load found it in the cache
    assert isinstance(Codec.from_pretrained(NAME), Codec)


def test_offline_the_cache_is_enough(
    server: Hub, pushed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fingerprint: str
) -> None:
    server.add(NAME, pushed)
    audiocodec.load(NAME)
    asked = len(server.asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert audiocodec.load(NAME).fingerprint.hex() == fingerprint
    with pytest.raises(HubError, match=r"org/other: config.json is not in the cache .*HF_HUB_OFFLINE forbids"):
        audiocodec.load("org/other")
    assert len(server.asked) == asked


def test_a_revision_is_a_tag_a_branch_or_a_commit(
    server: Hub, pushed: Path, other_model_path: Path, tmp_path: Path, fingerprint: str
) -> None:
    repo = server.add(NAME, pushed)
    repo.tags["v1"] = 0
    other = audiocodec.load(other_model_path, runtime="torch")
    server.add(NAME, other.save_pretrained(tmp_path / "second"))
    assert audiocodec.load(NAME).fingerprint == other.fingerprint
    assert audiocodec.load(f"{NAME}@v1").fingerprint.hex() == fingerprint
    assert Codec.from_pretrained(NAME, revision="v1").fingerprint.hex() == fingerprint
    with pytest.raises(HubError, match=r"org/codec@v2: has no revision 'v2'"):
        audiocodec.load(f"{NAME}@v2")


def test_a_fingerprint_pins_the_model(server: Hub, pushed: Path, fingerprint: str) -> None:
    server.add(NAME, pushed)
    wrong = "0" * 16
    assert audiocodec.load(f"{NAME}#{fingerprint}").fingerprint.hex() == fingerprint
    with pytest.raises(
        FingerprintMismatch, match=rf"org/codec: holds model {fingerprint}, not {wrong}, which was asked"
    ):
        audiocodec.load(f"{NAME}#{wrong}")
    for name in (NAME, str(pushed)):
        assert Codec.from_pretrained(name, fingerprint=fingerprint).fingerprint.hex() == fingerprint
        with pytest.raises(FingerprintMismatch, match=f"is model {fingerprint}, not {wrong}"):
            Codec.from_pretrained(name, fingerprint=wrong)


def test_the_command_line_takes_repositories(
    server: Hub, pushed: Path, tmp_path: Path, fingerprint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    server.add(NAME, pushed)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 9600), 24_000)
    assert main(["encode", "a.wav", "-m", NAME, "-o", "a.act", "--quiet"]) == 0
    assert main(["info", NAME, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["kind"], said["fingerprint"]) == ("model", fingerprint)
    assert audiocodec.TokenFile.read("a.act").fingerprint.hex() == fingerprint
    assert main(["decode", "a.act", "-o", "b.wav", "--quiet"]) == 0  # the cache has the model of the tokens
    assert models.find(bytes.fromhex(fingerprint)).startswith(str(tmp_path / "cache"))


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of its HTTP library
def test_a_prior_comes_with_its_model(server: Hub, tiny_model_path: Path, tmp_path: Path, fingerprint: str) -> None:
    folder = tmp_path / "with_prior"
    folder.mkdir()
    shutil.copy(tiny_model_path, folder / "model.safetensors")
    foreign = random_network((16, 24)).export()
    foreign.save(folder / "prior.safetensors")
    with pytest.raises(
        audiocodec.CheckpointError, match=rf"prior\.safetensors: is for model {CODEC}, this is {fingerprint}"
    ):
        audiocodec.push(folder, NAME)
    prior = prior_of(fingerprint)
    prior.save(folder / "prior.safetensors")
    with pytest.raises(audiocodec.PriorError, match="is not at hand"):
        priors.find(prior.fingerprint, "a.act")
    audiocodec.push(folder, NAME)
    audiocodec.load(NAME)
    assert priors.find(prior.fingerprint, "a.act").fingerprint == prior.fingerprint
    assert priors.of_codec(bytes.fromhex(fingerprint)).fingerprint == prior.fingerprint


def test_workers_of_tokenize_get_the_commit(server: Hub, pushed: Path, tmp_path: Path, fingerprint: str) -> None:
    """On another machine the path in this one's cache says nothing, and the branch may have moved."""
    from argparse import Namespace

    from audiocodec.cli.verbs.tokenize import _job

    server.add(NAME, pushed)
    said = {"output_dir": "out", "device": "cpu", "engine": "local", "threads": 1, "jobs": 1, "batch_seconds": 1.0}
    job = _job(Namespace(model=NAME, num_codebooks=None, runtime="auto", quiet=True, allow_pipes=False, **said))
    commit = next((tmp_path / "cache").glob("models--org--codec/snapshots/*")).name
    assert job.model == f"{NAME}@{commit}#{fingerprint}" and len(commit) == 40
    asked = len(server.asked)
    assert audiocodec.load(job.model).fingerprint.hex() == fingerprint and len(server.asked) == asked


def test_compare_calls_a_repository_by_its_name(server: Hub, pushed: Path, fingerprint: str) -> None:
    from audiocodec.evaluation.settings import Settings
    from audiocodec.evaluation.systems.kinds import ModelSystem

    server.add(NAME, pushed).tags["v1"] = 0
    for text, label, number in (
        (NAME, "codec", None),
        (f"{NAME}@1", "codec-1", 1),
        (f"{NAME}@v1@2", "codec-2", 2),
        (f"{NAME}@v1#{fingerprint}", "codec", None),
    ):
        found = ModelSystem.of(text, Settings(), lambda line: None)
        assert (found.label, found.num_codebooks) == (label, number)


@pytest.mark.parametrize("name", ["nothing/a.wav", "nothing/a.act", "nothing/a.safetensors"])
def test_a_file_that_is_not_there_is_no_repository(name: str, server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", name]) == 1
    assert capsys.readouterr().err.startswith("audiocodec: error: ")
    assert server.asked == []


# --- a hub that fails or lies


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncated", r"org/codec: model.safetensors could not be had from http://127.0.0.1:\d+, nothing was kept: "),
        (
            "slow",
            r"org/codec: model.safetensors could not be had from http://127.0.0.1:\d+, nothing was kept: TimeoutError",
        ),
        ("unauthorised", r"org/codec: .*log in with `hf auth login`, or set HF_TOKEN"),
        ("forbidden", r"org/codec: the hub refuses \(403\): log in with .* a token for reading"),
        ("gated", "org/codec: its owner must let you in: ask on its page, then log in"),
        (
            "wrong bytes",
            r"org/codec: model.safetensors has SHA-256 \w{16}..., config.json says .* removed from the cache",
        ),
    ],
)
def test_a_hub_that_fails(
    fault: str,
    message: str,
    server: Hub,
    pushed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fingerprint: str,
) -> None:
    """The message says what to do, no part of a model stays, and when the hub is well again so is the model."""
    from huggingface_hub import file_download

    monkeypatch.setattr(file_download, "http_get", with_retries(file_download.http_get, 0))
    repo = server.add(NAME, pushed, fault)
    with pytest.raises(HubError, match=message):
        audiocodec.load(NAME)
    assert main(["info", NAME]) == 1 and f"audiocodec: error: {NAME}: " in capsys.readouterr().err
    assert main(["encode", "a.wav", "-m", NAME, "-o", "a.act"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"audiocodec: {NAME}: ")
    assert [name for name in left_in(tmp_path / "cache") if not small(name)] == []
    repo.fault = ""
    assert audiocodec.load(NAME).fingerprint.hex() == fingerprint


def small(name: str) -> bool:
    """Whether it is the configuration, not weights."""
    return Path(name).is_file() and Path(name).read_bytes()[:1] == b"{"


def with_retries(http_get: Any, number: int) -> Any:
    """The library's download with fewer attempts: each waits for a second."""

    def quick(*args: Any, **options: Any) -> Any:
        return http_get(*args, **{**options, "_nb_retries": min(number, options.get("_nb_retries", number))})

    return quick


def test_no_hub_at_all(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port where nobody listens."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    with pytest.raises(
        HubError, match=rf"org/codec: config.json could not be had from {url}, nothing was kept: Connect"
    ):
        audiocodec.load(NAME)


def test_no_such_repository(server: Hub) -> None:
    with pytest.raises(
        HubError, match=r"org/codec: no such repository on http://127.*, or a private one: check the name"
    ):
        audiocodec.load(NAME)


def test_without_the_library_it_is_named(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        HubError, match=r"org/codec: no such file or model here; .* install huggingface_hub: pip install"
    ):
        audiocodec.load(NAME)
    assert list(hub.cached("model.safetensors")) == []


def test_a_repository_of_something_else(server: Hub, pushed: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("# Nothing\n")
    server.add("org/empty", tmp_path / "empty")
    with pytest.raises(HubError, match="org/empty: has no config.json: no model that `audiocodec push` wrote"):
        audiocodec.load("org/empty")
    for name, config in (("llama", b'{"model_type": "llama"}'), ("list", b"[]"), ("broken", b"{")):
        server.add(f"org/{name}", changed(pushed, tmp_path / name, config__json=config))
        with pytest.raises(HubError, match=rf"org/{name}: (holds no model of audiocodec|cannot read config.json)"):
            audiocodec.load(f"org/{name}")
    assert not any("model.safetensors" in line for line in server.asked)  # gigabytes of others are not fetched


def test_foreign_weights_under_our_configuration(
    server: Hub, pushed: Path, other_model_path: Path, tmp_path: Path
) -> None:
    """Whoever lies writes the right SHA-256, too."""
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "foreign.safetensors", {"format": "pt"})
    for name, path, said in (
        ("foreign", tmp_path / "foreign.safetensors", "none of audiocodec"),
        ("ours", other_model_path, ""),
    ):
        config = json.loads((pushed / "config.json").read_text())
        config["files"]["model.safetensors"] = hashlib.sha256(path.read_bytes()).hexdigest()
        folder = changed(
            pushed, tmp_path / name, config__json=json.dumps(config).encode(), model__safetensors=path.read_bytes()
        )
        server.add(f"org/{name}", folder)
        with pytest.raises(HubError, match=rf"model.safetensors is not the model that config.json describes \({said}"):
            audiocodec.load(f"org/{name}")


def test_weights_that_are_not_those_of_their_header(server: Hub, pushed: Path, tmp_path: Path) -> None:
    data = bytearray((pushed / "model.safetensors").read_bytes())
    data[8 + struct.unpack("<Q", data[:8])[0]] ^= 1  # a bit of the first weight
    config = json.loads((pushed / "config.json").read_text())
    config["files"]["model.safetensors"] = hashlib.sha256(data).hexdigest()
    folder = changed(
        pushed, tmp_path / "bits", config__json=json.dumps(config).encode(), model__safetensors=bytes(data)
    )
    server.add(NAME, folder)
    with pytest.raises(audiocodec.CheckpointError, match=r"codec/.*model.safetensors: the weights have fingerprint"):
        audiocodec.load(NAME)


# --- uploads


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of its HTTP library
def test_push_and_load(server: Hub, tiny_model_path: Path, fingerprint: str) -> None:
    codec = audiocodec.load(tiny_model_path, runtime="torch")
    address = codec.push_to_hub(NAME, license="apache-2.0", tags=["mine"])
    assert address.startswith(f"{server.url}/{NAME}/commit/")
    (files,) = server.repos[NAME].commits
    assert sorted(files) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "modeling_audiocodec.py",
        "preprocessor_config.json",
    ]
    assert audiocodec.load(NAME).fingerprint.hex() == fingerprint
    readme = ModelCard(files["README.md"].decode())  # as a hub reads it
    assert "| codec | 24 kHz mono, 75 frames a second, 0.45 to 0.9 kbps |" in readme.text.splitlines()
    assert "| quantizer | simvq, 2 x 64 codes of 16 dimensions |" in readme.text.splitlines()
    front = readme.data
    assert (front.license, front.library_name, front.pipeline_tag) == ("apache-2.0", "audiocodec", "audio-to-audio")
    assert {"audiocodec", "simvq", "mine"} < set(front.tags) and front.metrics is None


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub, of its HTTP library
def test_push_of_an_experiment(
    server: Hub,
    tiny_model_path: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Card, picture, prior and discriminators go along; where the training data lay does not."""
    experiment = tmp_path / "exp" / "first"
    newest = experiment / "checkpoints" / "step_00000002"
    newest.mkdir(parents=True)
    config = model_file.describe(tiny_model_path).config
    config = replace(config, data=replace(config.data, train="where/it/lay"))
    model_file.save(model_file.load(tiny_model_path), config, newest / "model.safetensors")
    save_file({"w": np.ones(2, np.float32)}, newest / "discriminators.safetensors")
    prior_of(model_file.describe(newest / "model.safetensors").fingerprint).save(newest / "prior.safetensors")
    (experiment / "CARD.md").write_text(
        "# First\n\n| audio | PESQ-WB |\n|---|---|\n| dev | 1.5 |\n\n![log](log.png) [sister](../b/CARD.md)\n"
    )
    (experiment / "log.png").write_bytes(b"picture")
    assert main(["push", "exp/first", NAME, "--license", "cc0-1.0"]) == 0
    assert not [record for record in caplog.records if record.name.startswith("audiocodec")]
    assert capsys.readouterr().out.startswith(f"{server.url}/{NAME}/commit/")
    (files,) = server.repos[NAME].commits
    said = json.loads(files["config.json"])
    assert set(said["files"]) == {"model.safetensors", "prior.safetensors", "discriminators.safetensors"}
    assert not any(b"where/it/lay" in data for data in files.values())
    assert files["log.png"] == b"picture"
    page = ModelCard(files["README.md"].decode())
    assert (page.data.metrics, page.data.license) == (["pesq"], "cc0-1.0") and page.text.startswith("\n# First\n")
    assert "\n![log](log.png) sister\n" in page.text  # what it shows comes along, other files do not
    path = hub.fetch(Repository(NAME), beside=(hub.DISCRIMINATORS_FILE,))
    assert {p.name for p in path.parent.iterdir()} == {"config.json", *said["files"]}
    assert [p.parent for p in hub.cached("prior.safetensors")] == [path.parent]


def test_pictures_that_do_not_come_along_are_named(
    tiny_model_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    card, folder = tmp_path / "card.md", tmp_path / "out"
    shown = ("here.png", "gone.png", "figures/deep.png", 'here.tiff "a title"', "https://example.com/far.png")
    card.write_text("# Card\n\n" + "\n".join(f"![what it is]({name})" for name in shown))
    (tmp_path / "figures").mkdir()
    for name in ("here.png", "figures/deep.png", "here.tiff"):
        (tmp_path / name).write_bytes(b"picture")
    audiocodec.load(tiny_model_path, runtime="torch").save_pretrained(folder, card=card)
    assert {path.name for path in folder.iterdir() if path.suffix in (".png", ".tiff")} == {"here.png"}
    only = "only .png, .svg and .jpg files beside it come along"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{card}: shows gone.png, which is left out: no such file is beside it",
        f"{card}: shows figures/deep.png, which is left out: {only}",
        f"{card}: shows here.tiff, which is left out: {only}",
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["first", "name"], "'name' names no repository; write org/name"),
        (["first", "a/b/c"], "'a/b/c' names no repository"),
        (["first", "a/b#0123456789abcdef"], "'a/b#0123456789abcdef' names no repository"),
        (["none", NAME], "none: no such model"),
        (["speech_24k", NAME, "--license", "do what you want"], "'do what you want' is no licence or tag"),
        (["speech_24k", NAME, "--card", "none.md"], "none.md: cannot be read"),
    ],
)
def test_pushes_that_are_refused_before_anything_is_sent(
    words: list[str], message: str, server: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", *words]) == 2
    assert message in capsys.readouterr().err
    assert server.asked == []


def test_uploads_that_the_hub_refuses(
    server: Hub, tiny_model_path: Path, pushed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(NAME, pushed, "forbidden")
    with pytest.raises(HubError, match=r"org/codec: the hub refuses \(403\): .* a token for writing"):
        audiocodec.push(tiny_model_path, NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match=r"org/new: the hub refuses \(401\): log in with"):
        audiocodec.push(tiny_model_path, "org/new")
    assert "org/new" not in server.repos and len(server.repos[NAME].commits) == 1


def test_a_branch_that_is_not_there(server: Hub, tiny_model_path: Path, pushed: Path) -> None:
    server.add(NAME, pushed)
    with pytest.raises(HubError, match=r"org/codec@none: has no revision 'none'"):
        audiocodec.push(tiny_model_path, f"{NAME}@none")
    assert len(server.repos[NAME].commits) == 1


# --- the folder


def test_a_folder_keeps_the_fingerprint_and_the_half_size(pushed: Path, tmp_path: Path, tiny_model_path: Path) -> None:
    codec = audiocodec.load(tiny_model_path, runtime="torch")
    for tensor in codec.state_dict().values():
        tensor.copy_(tensor.half().float())
    codec._fingerprint = None
    small = codec.save_pretrained(tmp_path / "half")
    assert (small / "model.safetensors").stat().st_size < 0.7 * (pushed / "model.safetensors").stat().st_size
    assert Codec.from_pretrained(str(small)).fingerprint == codec.fingerprint


def test_a_folder_that_cannot_be_written(tiny_model_path: Path, tmp_path: Path) -> None:
    codec = audiocodec.load(tiny_model_path, runtime="torch")
    (tmp_path / "file").write_text("")
    with pytest.raises(audiocodec.CheckpointError, match="file: cannot be made: File exists"):
        codec.save_pretrained(tmp_path / "file")
    for name in ("discriminators.safetensors", "prior.safetensors"):
        (tmp_path / name[:5]).mkdir()
        (tmp_path / name[:5] / name).write_bytes(b"")
        with pytest.raises(audiocodec.CheckpointError, match=f"holds {name} of a model that was there"):
            codec.save_pretrained(tmp_path / name[:5])
    light = audiocodec.load(tiny_model_path, runtime="onnx")
    with pytest.raises(UsageError, match=r'a codec on torch is needed, got OnnxCodec; load it with runtime="torch"'):
        save_pretrained(light, tmp_path / "light")
    assert not (tmp_path / "light").exists()
    with torch.no_grad():
        codec.scale.mean.fill_(float("nan"))
    with pytest.raises(audiocodec.CheckpointError, match="NaN"):
        codec.save_pretrained(tmp_path / "nan")
    assert list((tmp_path / "nan").iterdir()) == []
    with pytest.raises(UsageError, match="'a b' is no licence or tag"):
        codec.save_pretrained(tmp_path / "tags", tags=["a b"])
    assert not (tmp_path / "tags").exists()
