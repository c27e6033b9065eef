"""`audiocodec stream` and `encode --verify` as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audiocodec import model_file
from audiocodec.cli.main import main
from audiocodec.codec.exact import NearTies
from audiocodec.codec.torch import Codec
from audiocodec.tokens.token_file import TokenFile

RATE, HOP = 24_000, 320


def stream(model: Path, *options: str, data: bytes = b"", status: int = 0) -> tuple[bytes, str]:
    command = [sys.executable, "-m", "audiocodec", "stream", "-m", str(model), *options]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def pcm(samples: int) -> np.ndarray:
    return (np.random.default_rng(3).normal(0, 0.1, samples) * 2**15).astype("<i2")


def test_pcm_to_codes_to_pcm_is_what_the_codec_computes(tiny_model_path: Path) -> None:
    codec, sound = model_file.load(tiny_model_path), pcm(30 * HOP + 7)
    codes = codec.encode(sound.astype(np.float32) / 2**15)[0].numpy()
    text, said = stream(tiny_model_path, "--encode", "--chunk", "100", data=sound.tobytes())
    np.testing.assert_array_equal(np.array([line.split() for line in text.decode().splitlines()], int).T, codes)
    milliseconds = codec.latency_samples / RATE * 1000
    assert f"algorithmic latency {milliseconds:.1f} ms" in said and "mono s16le at 24000 Hz" in said
    wav = codec.decode(codes)[0, 0].numpy()
    decoded, _ = stream(tiny_model_path, "--decode", "--format", "f32le", data=text)
    np.testing.assert_allclose(np.frombuffer(decoded, "<f4"), wav, rtol=0, atol=1e-6)
    whole, _ = stream(tiny_model_path, "--through", "--quiet", data=sound.tobytes())
    expected = np.clip(np.rint(wav[: len(sound)] * 2**15), -(2**15), 2**15 - 1)
    assert np.abs(np.frombuffer(whole, "<i2").astype(int) - expected).max() <= 1  # where rounding decides


def test_loopback_tells_latency_and_underruns(tiny_model_path: Path) -> None:
    codec = model_file.load(tiny_model_path)
    found = {}
    for buffer in ("0", "59999"):
        options = ("--loopback", "--chunk", "480", "--buffer", buffer, "--quiet")
        text, _ = stream(tiny_model_path, *options, data=pcm(2 * RATE).tobytes())
        found[buffer] = json.loads(text)
    report = found["0"]
    assert report["algorithmic_latency_ms"] == pytest.approx(codec.latency_samples / 24)
    assert (report["chunk_ms"], report["chunks"]) == (20, 100)
    assert report["worst_latency_ms"] > 0 and report["real_time_factor"] > 0
    assert found["59999"]["underruns"] == 0  # no machine that runs the tests is a minute late


@pytest.mark.parametrize(
    ("options", "data", "status", "message"),
    [
        ((), b"", 2, "one of the arguments --encode --decode --through --loopback is required"),
        (("--encode",), b"abc", 1, "<stdin>: ends within a sample: 1 bytes of 2"),
        (("--encode", "--format", "f32le"), np.float32([np.nan]).tobytes(), 1, "NaN or infinite"),
        (("--decode",), b"5 7\n5 x\n", 1, "<stdin>:2: expected the codes of a frame"),
        (("--decode",), b"5 7\n5\n", 1, "<stdin>:2: 1 codes, but 2 in the lines before"),
        (("--decode",), b"5 64\n", 1, "<stdin>:1: codes outside 0 to 63"),
        (("--decode",), b"1 2 3\n", 1, "1 <= K <= 2"),
        (("--encode", "--num-codebooks", "3"), b"", 2, "3 codebooks are asked for"),
        (("--loopback", "--buffer", "-1"), b"", 2, "need 0 to 60000 ms"),
    ],
)
def test_what_cannot_be_streamed_is_refused(
    tiny_model_path: Path, options: tuple[str, ...], data: bytes, status: int, message: str
) -> None:
    assert message in stream(tiny_model_path, *options, data=data, status=status)[1]


def test_encode_verifies(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "a.wav"
    soundfile.write(source, np.random.default_rng(0).normal(0, 0.1, 12 * RATE), RATE)
    command = ["encode", str(source), "-m", str(tiny_model_path), "--verify", "--force", "-o"]
    assert main([*command, str(tmp_path / "a.act")]) == 0
    assert "verified, 900 frames twice the same" in capsys.readouterr().err
    chunks, encode_blocks = [], Codec.encode_blocks

    def differently(self: Codec, blocks, num_codebooks=None, chunk_seconds=None, exact=True):  # type: ignore[no-untyped-def]
        chunks.append(chunk_seconds)
        codes = np.concatenate(list(encode_blocks(self, blocks, num_codebooks, chunk_seconds, exact)), 1)
        codes[1, 7] ^= chunk_seconds is not None
        yield codes

    monkeypatch.setattr(Codec, "encode_blocks", differently)
    assert main([*command, str(tmp_path / "b.act")]) == 1
    assert "1 of 900 frames got other codes when encoded again" in capsys.readouterr().err
    assert not (tmp_path / "b.act").exists()
    assert chunks == [None, 3.7]
    assert TokenFile.read(tmp_path / "a.act").codes.shape == (2, 900)


def test_fast_tokens_tell_that_nothing_decided_them(
    tmp_path: Path, tiny_model_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a.wav", tmp_path / "a.act"
    soundfile.write(source, np.random.default_rng(0).normal(0, 0.1, 6 * RATE), RATE)
    command = ["encode", str(source), "-m", str(tiny_model_path), "-o", str(target), "--quiet"]
    decided: list[int] = []
    decide = NearTies.decide

    def counted(self: NearTies, latents: np.ndarray, *rest: Any) -> np.ndarray:
        decided.append(latents.shape[1])
        return decide(self, latents, *rest)

    monkeypatch.setattr(NearTies, "decide", counted)
    assert main([*command, "--fast"]) == 0
    assert TokenFile.read(target).notes == {"near_ties": "float32"} and decided == []
    assert main([*command, "--fast", "--resume"]) == 0 and TokenFile.read(target).notes
    assert main([*command, "--resume"]) == 0  # made again: other tokens may be wanted
    assert not TokenFile.read(target).notes and sum(decided) == 450
    before = target.read_bytes()
    assert main([*command, "--fast", "--resume"]) == 0 and target.read_bytes() == before
    assert main([*command, "--fast", "--verify", "--force"]) == 2
    assert "--verify checks what --fast leaves out" in capsys.readouterr().err
