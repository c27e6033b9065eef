"""Encoding and decoding in an environment without torch, and with `--runtime onnx` in one that has it."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.light import make_light_environment
from support.workspace import CHECKOUT, run

from audiocodec import model_file
from audiocodec.build import build_codec
from audiocodec.cli.main import main
from audiocodec.config.schema import Config, DecoderConfig, EncoderConfig, ModelConfig, QuantizerConfig
from audiocodec.onnx import codec
from audiocodec.tokens.token_file import TokenFile

AUDIO = CHECKOUT / "egs/mini/codec/local/audio"
SPEECH = min(AUDIO.glob("*/*.flac"))


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The command in an environment without torch."""
    return [make_light_environment(tmp_path_factory.mktemp("light")), "-m", "audiocodec"]


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, light: list[str | Path]) -> Path:
    """`onnx/` and `torch/`: tokens and audio of the sample speech by either runtime, each in its environment."""
    folder = tmp_path_factory.mktemp("coded")
    run([*light, "encode", AUDIO, "-d", folder / "onnx", "--quiet"], folder)
    run([*light, "decode", folder / "onnx", "-d", folder / "onnx_wav", "--quiet"], folder)
    assert main(["encode", str(AUDIO), "-d", str(folder / "torch"), "--runtime", "torch", "--quiet"]) == 0
    assert (
        main(["decode", str(folder / "torch"), "-d", str(folder / "torch_wav"), "--runtime", "torch", "--quiet"]) == 0
    )
    return folder


def test_the_environment_holds_nothing_more(light: list[str | Path], tmp_path: Path) -> None:
    code = "import importlib.util as u; print([n for n in {!r} if u.find_spec(n)])"
    names = ["torch", "safetensors", "yaml", "tqdm", "scipy", "onnx", "onnxruntime", "numpy", "soundfile", "soxr"]
    done = run([light[0], "-c", code.format(names)], tmp_path)
    assert done.stdout.strip() == str(["safetensors", "onnxruntime", "numpy", "soundfile", "soxr"])


def test_without_torch_the_tokens_are_those_of_torch(coded: Path) -> None:
    same = total = 0
    for path in sorted((coded / "torch").rglob("*.act")):
        theirs, ours = TokenFile.read(path), TokenFile.read(coded / "onnx" / path.relative_to(coded / "torch"))
        same, total = same + int((ours.codes == theirs.codes).sum()), total + theirs.codes.size
        for name in (
            "fingerprint",
            "gain",
            "num_samples",
            "original_sample_rate",
            "original_num_samples",
            "hop_length",
        ):
            assert getattr(ours, name) == getattr(theirs, name), name
    assert total > 4000 and same == total


def test_without_torch_the_audio_is_that_of_torch(coded: Path) -> None:
    paths = sorted((coded / "torch_wav").rglob("*.wav"))
    assert len(paths) == 12
    for path in paths:
        (theirs, rate), name = soundfile.read(path), path.relative_to(coded / "torch_wav")
        ours, our_rate = soundfile.read(coded / "onnx_wav" / name)
        codes = [TokenFile.read((coded / runtime / name).with_suffix(".act")).codes for runtime in ("onnx", "torch")]
        assert our_rate == rate and len(ours) == len(theirs)
        if np.array_equal(*codes):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)  # what docs/guide/voiced_decoder.md promises


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["encode", SPEECH, "-o", "a.act", "--runtime", "torch"], 2, 'torch is not installed; pip install "audiocodec'),
        (["encode", "none.wav", "-o", "a.act"], 1, "none.wav"),
        (["encode", SPEECH, "-o", "a.act", "-m", "none"], 2, "none: no such model"),
        (["encode", SPEECH, "-o", "a.act", "--device", "cuda"], 2, "--device cuda: this onnxruntime has none"),
        (
            ["train", "--config", CHECKOUT / "audiocodec/configs/mini.yaml", "--exp", "e"],
            2,
            'pip install "audiocodec[torch]"',
        ),
    ],
)
def test_without_torch_errors_are_one_line_and_a_status(
    light: list[str | Path], words: list[str | Path], status: int, message: str, tmp_path: Path
) -> None:
    done = run([*light, *words], tmp_path, status)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_without_torch_other_verbs_work(light: list[str | Path], coded: Path, tmp_path: Path) -> None:
    found = run([*light, "info", "speech_24k", "--json"], tmp_path).stdout
    assert json.loads(found)["codebook_size"] == 65_536
    run([*light, "export-tokens", coded / "onnx", "--format", "jsonl", "-o", tmp_path / "t.jsonl"], tmp_path)
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 12


PYTHON = """
import contextlib, io, sys
import soundfile
import audiocodec

codec = audiocodec.load()
wav, rate = soundfile.read(sys.argv[1], dtype="float32")
data = audiocodec.compress(codec, wav, rate)
assert data == open(sys.argv[2], "rb").read()
audio, found = audiocodec.decompress(codec, data)
assert (len(audio), found) == (len(wav), rate)
with contextlib.redirect_stdout(io.StringIO()) as shown:
    help(audiocodec)
assert "decompress" in shown.getvalue() and not hasattr(audiocodec, "Codec")
print(type(codec).__name__, codec.encode(wav, rate, normalize=True).dtype, "torch" in sys.modules)
"""


def test_without_torch_it_works_from_python(light: list[str | Path], coded: Path, tmp_path: Path) -> None:
    tokens = (coded / "onnx" / SPEECH.relative_to(AUDIO)).with_suffix(".act")
    done = run([light[0], "-c", PYTHON, SPEECH, tokens], tmp_path)
    assert done.stdout.split() == ["OnnxCodec", "int64", "False"]


def test_without_torch_tokens_are_verified(light: list[str | Path], coded: Path, tmp_path: Path) -> None:
    done = run([*light, "encode", SPEECH, "-o", "a.act", "--verify"], tmp_path)
    assert "verified, " in done.stderr and "frames twice the same" in done.stderr
    assert (tmp_path / "a.act").read_bytes() == (coded / "onnx" / SPEECH.relative_to(AUDIO)).with_suffix(
        ".act"
    ).read_bytes()


def test_without_torch_the_demo_codes(light: list[str | Path], coded: Path, tmp_path: Path) -> None:
    command = [str(word) for word in [*light, "demo", "--no-browser"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()

            def post(path: str, body: bytes = b"") -> dict[str, Any]:
                found: dict[str, Any] = json.load(urllib.request.urlopen(address + path, body))
                return found

            given = post("recordings", SPEECH.read_bytes())
            made = post(f"recordings/{given['id']}/1")
            tokens = (coded / "onnx" / SPEECH.relative_to(AUDIO)).with_suffix(".act")
            assert base64.b64decode(made["file"]) == tokens.read_bytes() and made["spectrogram"].startswith(
                "data:image/png"
            )
            run([*light, "recode", tokens, "-o", tmp_path / "small.act", "--compress"], tmp_path)
            smaller = post(f"recordings/{given['id']}/1/compressed")
            assert smaller["bytes"] == (tmp_path / "small.act").stat().st_size < made["bytes"]
            assert post(f"recordings/{given['id']}/2/compressed") == {}  # no prior of the other model
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 130
        finally:
            process.kill()


def test_with_neither_runtime_it_says_what_to_install(tmp_path: Path) -> None:
    python = make_light_environment(tmp_path / "bare", without="onnxruntime")
    done = run([python, "-m", "audiocodec", "encode", SPEECH, "-o", "a.act"], tmp_path, 2)
    assert "neither torch nor onnxruntime is installed" in done.stderr


# --- with torch installed


def test_runtime_onnx_is_taken_when_asked_for(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["encode", str(SPEECH), "-m", str(tiny_model_path), "--device", "cpu", "-o"]
    for runtime, said in (("onnx", "with onnxruntime"), ("torch", "on cpu\n"), ("auto", "on cpu\n")):
        assert main([*words, str(tmp_path / f"{runtime}.act"), "--runtime", runtime]) == 0
        assert said in capsys.readouterr().err
    assert (tmp_path / "auto.act").read_bytes() == (tmp_path / "torch.act").read_bytes()


def test_runtime_onnx_verifies_on_another_number_of_threads(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, make, run = [], codec.make_session, codec.OnnxCodec._run

    def make_session(file: bytes, device: str, threads: int | None) -> object:
        made.append(threads)
        return make(file, device, threads)

    def differently(self: codec.OnnxCodec, part: str, *arrays: np.ndarray) -> list[np.ndarray]:
        return [array * (1 if self._threads == 2 else -1) for array in run(self, part, *arrays)]

    monkeypatch.setattr(codec, "make_session", make_session)
    words = ["encode", str(SPEECH), "-m", str(tiny_model_path), "--runtime", "onnx", "--verify", "--device", "cpu"]
    for threads, other in ((2, 1), (1, 2)):
        made.clear()
        assert main([*words, "-o", str(tmp_path / f"{threads}.act"), "--threads", str(threads)]) == 0
        assert "frames twice the same" in capsys.readouterr().err
        assert made == [threads, other]
    monkeypatch.setattr(codec.OnnxCodec, "_run", differently)
    assert main([*words, "-o", str(tmp_path / "c.act"), "--threads", "2"]) == 1
    assert "frames got other codes when encoded again" in capsys.readouterr().err
    assert not (tmp_path / "c.act").exists()


def test_an_exported_folder_is_a_model(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "exported"
    assert main(["export", str(tiny_model_path), "--onnx", str(made)]) == 0
    assert sorted(os.listdir(made)) == ["decoder.onnx", "encoder.onnx", "exact.npz", "model.json", "quantizer.npz"]
    tokens, out = str(tmp_path / "a.act"), str(tmp_path / "a.wav")
    assert main(["encode", str(SPEECH), "-m", str(made), "-o", tokens]) == 0
    assert main(["decode", tokens, "-m", str(tiny_model_path), "-o", out]) == 0  # the same codec to its tokens
    assert main(["encode", str(SPEECH), "-m", str(made), "-o", tokens, "--force", "--runtime", "torch"]) == 2
    assert main(["export", str(tiny_model_path), "--onnx", str(made)]) == 2
    assert main(["export", str(tiny_model_path), "--onnx", str(tmp_path / "b"), "--half"]) == 2
    said = capsys.readouterr().err
    assert "was exported for onnxruntime" in said and "already exists" in said and "--half goes with -o FILE" in said


def test_an_int8_export_states_its_agreement(
    tiny_model_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, tokens = tmp_path / "exported", [tmp_path / "a.act", tmp_path / "b.act"]
    assert main(["export", str(tiny_model_path), "--onnx", str(made), "--int8", str(SPEECH)]) == 0
    stated = json.loads((made / "model.json").read_text())["token_agreement"]
    assert main(["encode", str(SPEECH), "-m", str(made), "-o", str(tokens[0])]) == 0
    assert f"int8: {100 * stated['equal']:.2f} % of {stated['codes']:,} tokens" in capsys.readouterr().err
    assert main(["encode", str(SPEECH), "-m", str(tiny_model_path), "-o", str(tokens[1]), "--runtime", "onnx"]) == 0
    rough, exact = (TokenFile.read(path).codes for path in tokens)
    assert stated == {"files": 1, "codes": exact.size, "equal": float((rough == exact).mean())}
    assert main(["export", str(tiny_model_path), "--onnx", str(tmp_path / "c"), "--int8", "none.wav"]) == 1
    assert not (tmp_path / "c").exists()


def test_a_model_without_linear_layers_has_no_int8_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = EncoderConfig(strides=(4, 5), base_channels=2)
    network = ModelConfig(encoder=encoder, decoder=DecoderConfig(kind="seanet", base_channels=2))
    config = Config(sample_rate=2400, model=network, quantizer=QuantizerConfig(codebook_size=16, codebook_dim=6))
    model_file.save(build_codec(config), config, tmp_path / "m.safetensors")
    words = ["export", str(tmp_path / "m.safetensors"), "--onnx", str(tmp_path / "made")]
    assert main([*words, "--int8", str(SPEECH)]) == 2
    assert "has no linear layers, which is what --int8 computes in 8 bits" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()
    assert main(words) == 0
