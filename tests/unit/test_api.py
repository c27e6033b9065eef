"""The package from Python: what is public, and what a codec takes and gives, on both runtimes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import audiocodec
from audiocodec import AudioError, FingerprintMismatch, TokenFile, TokenFileError, UsageError
from audiocodec.audio import io

CHECKOUT = Path(__file__).parents[2]
CLIPS = sorted((CHECKOUT / "egs/mini/codec/local/audio").glob("*/*.flac"))
HOP, RATE = 320, 24_000
RUNTIMES = ("torch", "onnx")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


@pytest.fixture(scope="module", params=RUNTIMES)
def codec(request: pytest.FixtureRequest, tiny_model_path: Path) -> Any:
    return audiocodec.load(tiny_model_path, runtime=request.param)


@pytest.fixture(scope="module")
def torch_codec(tiny_model_path: Path) -> audiocodec.Codec:
    return audiocodec.load(tiny_model_path, runtime="torch")


# --- what is public


def test_dir_and_help_show_what_is_public_and_nothing_else() -> None:
    code = "import audiocodec, sys; print(dir(audiocodec)); print('torch' in sys.modules); help(audiocodec)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    names, early, shown = said.split("\n", 2)
    assert names == str(sorted(audiocodec.__all__)) and early == "False"
    for name in {*audiocodec.__all__} - {"__version__"}:  # which is under the heading VERSION
        assert name in shown
    assert "import_module" not in shown and "TYPE_CHECKING" not in shown


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in audiocodec.__all__:
        assert getattr(audiocodec, name).__doc__, name
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        audiocodec.nonsense  # noqa: B018


def test_every_error_class_is_public() -> None:
    from audiocodec import errors

    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined <= set(audiocodec.__all__)
    assert all(issubclass(getattr(audiocodec, name), audiocodec.AudioCodecError) for name in defined)


def test_what_needs_torch_says_so_without_it() -> None:
    code = "import sys; sys.modules['torch'] = None; import audiocodec; audiocodec.Codec"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f'audiocodec.Codec needs torch, which is not installed; pip install -e "{CHECKOUT}[torch]"' in done.stderr


# --- load


def test_both_runtimes_are_loaded_by_name(tiny_model_path: Path) -> None:
    kinds = [type(audiocodec.load(tiny_model_path, runtime=runtime)).__name__ for runtime in ("auto", *RUNTIMES)]
    assert kinds == ["Codec", "Codec", "OnnxCodec"]
    with pytest.raises(UsageError, match="no runtime is called 'jax'; there are auto, torch, onnx"):
        audiocodec.load(tiny_model_path, runtime="jax")
    with pytest.raises(UsageError, match="no CUDA device is available|this onnxruntime has none"):
        audiocodec.load(tiny_model_path, runtime="onnx", device="cuda")


# --- encode and decode


def test_all_shapes_of_a_signal_give_the_same_codes(codec: Any) -> None:
    wav = noise(10 * HOP + 5)
    codes = np.asarray(codec.encode(wav))
    assert codes.shape == (1, 2, 11) and codes.dtype == np.int64
    for same in (wav[None], wav[None, None], torch.from_numpy(wav), torch.from_numpy(wav)[None], wav.tolist()):
        np.testing.assert_array_equal(codec.encode(same), codes)
    batch = np.stack([wav, noise(len(wav), seed=1), noise(len(wav), seed=2)])
    np.testing.assert_array_equal(np.asarray(codec.encode(batch))[:1], codes)
    np.testing.assert_array_equal(codec.encode(batch), codec.encode(batch[:, None]))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 4800), r"got \[2, 4800\]; of stereo, wav\.mean\(0\) mixes .* for a batch of two, give wav\[:, None\]"),
        ((4800, 2), r"got \[4800, 2\]; this looks like \[samples, channels\]: wav\.mean\(1\)"),
        ((3, 2, 4800), r"got \[3, 2, 4800\]; wav\.mean\(1\) mixes"),
        ((1, 1, 1, 4800), r"got \[1, 1, 1, 4800\]$"),
        ((), r"got \[\]$"),
    ],
)
def test_channels_are_refused_with_what_to_do(codec: Any, shape: tuple[int, ...], hint: str) -> None:
    with pytest.raises(AudioError, match=r"need mono audio of shape \[S\], \[B, S\] or \[B, 1, S\], " + hint):
        codec.encode(np.zeros(shape, np.float32))


def test_a_padded_batch_is_coded_item_by_item(codec: Any) -> None:
    lengths = [9 * HOP, 3 * HOP + 1, 1]
    wavs = [noise(n, seed=n) for n in lengths]
    padded = np.stack([np.pad(wav, (0, 9 * HOP - len(wav)), constant_values=0.7) for wav in wavs])
    found = codec.encode(padded, lengths=lengths)
    assert np.asarray(found.frames).tolist() == [9, 4, 1]
    assert np.asarray(found.mask).sum(1).tolist() == [9, 4, 1] and found.mask.shape == (3, 9)
    for codes, mask, wav in zip(found.codes, found.mask, wavs):
        alone = np.asarray(codec.encode(wav))[0]
        np.testing.assert_array_equal(np.asarray(codes)[:, np.asarray(mask)], alone)
        assert not np.asarray(codes)[:, ~np.asarray(mask)].any()
    two = codec.encode(padded[:2], lengths=torch.tensor(lengths[:2]))  # with lengths two rows are a batch
    np.testing.assert_array_equal(two.codes, found.codes[:2])


def test_lengths_count_at_the_rate_of_the_audio(codec: Any) -> None:
    """16 kHz: 24,000 samples are 1.5 s, at 75 frames a second 113 frames."""
    wav = noise(2, 32_000)
    found = codec.encode(wav, 16_000, lengths=[24_000, 32_000])
    assert np.asarray(found.frames).tolist() == [113, 150]
    alone = codec.encode(io.resample(wav[0, :24_000], 16_000, RATE))
    np.testing.assert_array_equal(np.asarray(found.codes)[0, :, :113], np.asarray(alone)[0])


@pytest.mark.parametrize("lengths", [[5.0, 6.0], [[5], [6]], [5, 101], [5]])
def test_lengths_that_are_none_are_refused(codec: Any, lengths: Any) -> None:
    with pytest.raises(AudioError, match="need 2 lengths of 1 to 100 samples, got"):
        codec.encode(np.zeros((2, 100), np.float32), lengths=lengths)


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.parent.name + "/" + path.name)
def test_python_and_the_command_line_agree(path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """On the demo's clips, with the model in the package, bit for bit."""
    from audiocodec.cli.main import main

    out = tmp_path_factory.mktemp("cli") / "a.act"
    assert main(["encode", str(path), "-o", str(out), "--runtime", "torch", "--device", "cpu", "--quiet"]) == 0
    channels, rate = io.read(path)
    shipped = _shipped()
    assert audiocodec.compress(shipped, channels, rate) == out.read_bytes()
    codes = shipped.encode(channels.mean(0, dtype=np.float32), rate, normalize=True)
    np.testing.assert_array_equal(codes[0].numpy(), TokenFile.read(out).codes)
    assert audiocodec.encode_file(shipped, path).to_bytes() == out.read_bytes()


_LOADED: list[audiocodec.Codec] = []


def _shipped() -> audiocodec.Codec:
    if not _LOADED:
        _LOADED.append(audiocodec.load(runtime="torch"))
    return _LOADED[0]


def test_the_level_does_matter_and_is_brought_to_the_codec_s(codec: Any) -> None:
    wav = noise(20 * HOP)
    soft = wav * np.float32(2**-5)  # exact, so the levelled samples are, too
    assert (np.asarray(codec.encode(soft)) != np.asarray(codec.encode(wav))).mean() > 0.1
    np.testing.assert_array_equal(codec.encode(soft, normalize=True), codec.encode(wav, normalize=True))
    rms = np.sqrt(np.mean(np.square(wav, dtype=np.float64)))
    by_hand = wav * np.float32(10 ** (codec.level_db / 20) / rms)
    np.testing.assert_array_equal(codec.encode(wav, normalize=True), codec.encode(by_hand))
    both = np.stack([wav, soft])[:, None]
    assert len({codes.tobytes() for codes in np.asarray(codec.encode(both, normalize=True))}) == 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_codes_of_any_integer_type(codec: Any, dtype: str) -> None:
    codes = np.array([[0, 5, 63], [1, 2, 3]])
    expected = np.asarray(codec.decode(codes))
    for same in (codes.astype(dtype), torch.from_numpy(codes).to(getattr(torch, dtype))):
        np.testing.assert_array_equal(codec.decode(same), expected)


def test_a_token_file_is_decoded_with_its_length_and_level(codec: Any, other_model_path: Path) -> None:
    wav = noise(7 * HOP + 3)
    tokens = TokenFile.from_bytes(audiocodec.compress(codec, wav))
    assert tokens.gain != 1.0
    expected = np.asarray(codec.decode(tokens.codes, len(wav))) / tokens.gain
    found = np.asarray(codec.decode(tokens))
    assert found.shape == (1, 1, len(wav)) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(FingerprintMismatch, match="was encoded by model"):
        audiocodec.load(other_model_path, runtime="torch").decode(tokens)


# --- bytes and back


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
def test_bytes_and_back_are_those_of_files(codec: Any, rate: int, tmp_path: Path) -> None:
    wav = 0.5 * noise(2, rate // 2 + 7)
    io.write(tmp_path / "a.wav", wav, rate, "FLOAT")
    tokens = audiocodec.encode_file(codec, tmp_path / "a.wav")
    data = audiocodec.compress(codec, wav, rate)
    assert data == tokens.to_bytes()
    audio, found = audiocodec.decompress(codec, data)
    assert (audio.shape, audio.dtype, found) == ((rate // 2 + 7,), np.float32, rate)
    audiocodec.decode_file(codec, tokens, tmp_path / "b.wav")
    np.testing.assert_allclose(audio, io.read(tmp_path / "b.wav")[0][0], rtol=0, atol=1 / 32768)
    assert audiocodec.decompress(codec, data, 16_000)[1] == 16_000


@pytest.mark.parametrize("shape", [(4800, 2), (1, 1, 4800), (), (0,), (2, 0)])
def test_only_signals_are_compressed(codec: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"need audio of shape \[S\] or \[C, S\], got"):
        audiocodec.compress(codec, np.zeros(shape, np.float32))


def test_damaged_bytes_are_refused(codec: Any) -> None:
    data = audiocodec.compress(codec, noise(1000))
    for bad in (b"", data[:-1], data + b"x", data[:60] + bytes([data[60] ^ 1]) + data[61:]):
        with pytest.raises(TokenFileError):
            audiocodec.decompress(codec, bad)


# --- on torch: gradients


def test_results_are_ordinary_tensors(torch_codec: audiocodec.Codec) -> None:
    wav = torch.from_numpy(noise(3, 8 * HOP))
    codes, audio = torch_codec.encode(wav), torch_codec.decode(torch_codec.encode(wav))
    nn.Embedding(64, 8)(codes).sum().backward()
    logits = torch.zeros(3, 64, 2, 8, requires_grad=True)
    nn.functional.cross_entropy(logits, codes).backward()
    nn.Conv1d(1, 1, 3)(audio).sum().backward()
    codes += 1
    audio *= 0.5
    assert not any(t.is_inference() for t in (codes, audio, torch_codec.encode(wav, lengths=[9, 9, 9]).codes))


def test_latents_carry_a_gradient_and_give_the_codes(torch_codec: audiocodec.Codec) -> None:
    wav = torch.from_numpy(noise(2, 1, 12 * HOP - 7)).requires_grad_()
    latents = torch_codec.latents(wav)
    assert latents.shape == (2, 16, 12) and latents.dtype == torch.float32
    output = torch_codec.quantize(latents)
    assert (output.codes == torch_codec.encode(wav.detach())).float().mean() > 0.99  # but for near-ties
    assert output.codes.shape == (2, 2, 12) and output.quantized.shape == (2, 16, 12)
    audio = torch_codec.decoder(output.quantized)
    torch.testing.assert_close(audio, torch_codec.decode(output.codes), rtol=0, atol=1e-4)
    audio.square().sum().backward()
    assert wav.grad is not None and bool((wav.grad != 0).any()) and bool(torch.isfinite(wav.grad).all())
    one = torch_codec.quantize(latents, num_codebooks=1)
    assert torch.equal(one.codes, output.codes[:, :1])


def test_the_gradient_of_the_latents_is_that_of_the_encoder(torch_codec: audiocodec.Codec) -> None:
    """Against finite differences, in the direction of the gradient."""
    wav = torch.from_numpy(noise(1, 1, 4 * HOP)).requires_grad_()
    torch_codec.latents(wav)[0, 0, 2].backward()
    assert wav.grad is not None
    step = 1e-3 * wav.grad / wav.grad.norm()
    with torch.no_grad():
        ends = [float(torch_codec.latents(wav + sign * step)[0, 0, 2]) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(float(wav.grad.norm()), rel=0.05)


def test_latents_of_other_rates_and_levels(torch_codec: audiocodec.Codec) -> None:
    wav = noise(8_000)
    resampled = io.resample(wav, 16_000, RATE)
    torch.testing.assert_close(torch_codec.latents(wav, 16_000), torch_codec.latents(resampled))
    louder = torch_codec.latents(wav * np.float32(4), 16_000, normalize=True)
    torch.testing.assert_close(louder, torch_codec.latents(wav, 16_000, normalize=True))


def test_codes_are_embedded_as_the_sum_of_their_rows(torch_codec: audiocodec.Codec) -> None:
    codes = np.random.default_rng(0).integers(0, 64, (3, 2, 5)).astype(np.uint8)
    tables = torch_codec.quantizer.tables()
    found = torch_codec.embed(codes)
    assert found.shape == (3, 16, 5) and found.dtype == torch.float32
    for b, t in np.ndindex(3, 5):
        expected = tables[0][int(codes[b, 0, t])] + tables[1][int(codes[b, 1, t])]
        torch.testing.assert_close(found[b, :, t], expected)
    torch.testing.assert_close(torch_codec.embed(codes[0, :1])[0, :, 0], tables[0][int(codes[0, 0, 0])])


def test_the_gradient_reaches_a_codebook_that_is_trained(tiny_model_path: Path) -> None:
    codec = audiocodec.load(tiny_model_path, runtime="torch").requires_grad_(True)
    codec.embed(np.array([[3, 5], [0, 1]])).square().sum().backward()
    learned = [name for name, p in codec.quantizer.named_parameters() if p.grad is not None and bool(p.grad.any())]
    assert learned


@pytest.mark.parametrize("shape", [(16, 5), (1, 15, 5), (1, 1, 16, 5)])
def test_latents_of_another_shape_are_refused(torch_codec: audiocodec.Codec, shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioError, match=r"need float latents of shape \[B, 16, T\], got torch.float32"):
        torch_codec.quantize(torch.zeros(shape))


# --- evaluate, compare, report


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ref`, and `est`: the same with noise."""
    root = tmp_path_factory.mktemp("audio")
    for place in ("ref", "est"):
        (root / place).mkdir()
    for seed, name in enumerate("abc"):
        io.write(root / "ref" / f"{name}.wav", noise(RATE // 2, seed=seed), RATE)
        io.write(root / "est" / f"{name}.wav", noise(RATE // 2, seed=seed) + 0.1 * noise(RATE // 2, seed=9), RATE)
    return root


def test_evaluate_compare_and_report_are_functions(folders: Path, tiny_model_path: Path, tmp_path: Path) -> None:
    found = audiocodec.evaluate(
        folders / "ref", tmp_path / "eval", estimate=folders / "est", metrics=["si_sdr"], jobs=1
    )
    assert [row.id for row in found.rows] == ["a", "b", "c"]
    assert found.summary.measures["si_sdr"].mean == pytest.approx(20, abs=1)  # noise of a tenth of the level
    assert found.summary.command == (
        f"audiocodec evaluate --reference {folders}/ref -d {tmp_path}/eval --estimate {folders}/est --metrics si_sdr"
    )
    compared = audiocodec.compare(
        folders / "ref",
        tmp_path / "cmp",
        baselines="reference",
        models=f"tiny={tiny_model_path}@1",
        systems=[f"noisy={folders / 'est'}"],
        against="noisy",
        metrics="si_sdr",
        jobs=1,
        device="cpu",
    )
    assert list(compared.summaries) == list(compared.rows) == ["reference", "tiny", "noisy"]
    assert compared.summaries["noisy"].measures["si_sdr"] == found.summary.measures["si_sdr"]
    difference = compared.differences["tiny"]["si_sdr"]
    means = [compared.summaries[label].measures["si_sdr"].mean or 0 for label in ("tiny", "noisy")]
    assert difference.mean == pytest.approx(means[0] - means[1])
    assert "Difference from noisy" in compared.page.read_text()
    page = audiocodec.report(
        [tmp_path / "cmp" / label for label in ("tiny", "noisy")], tmp_path / "page.html", examples=1, against="noisy"
    )
    assert [system.label for system in page.systems] == ["tiny", "noisy"] and len(page.examples) == 1
    with pytest.raises(UsageError, match=r"page\.html already exists"):
        audiocodec.report(tmp_path / "eval", tmp_path / "page.html")


def test_contradictions_are_refused_before_any_work(folders: Path, tmp_path: Path) -> None:
    for wrong, message in (
        ({}, "say --estimate PATH"),
        ({"estimate": folders / "est", "model": "speech_24k"}, "one of them"),
        ({"estimate": folders / "est", "num_codebooks": 2}, "--num-codebooks goes with --model"),
        ({"model": "speech_24k", "tokens": folders}, "--tokens goes with --estimate"),
        ({"estimate": folders / "est", "made_by": "speech_24k"}, "--made-by MODEL needs --tokens"),
        ({"estimate": folders / "nowhere"}, "nowhere: No such file or directory"),
        ({"estimate": folders / "est", "metrics": ["mos"]}, "'mos' is no metric"),
    ):
        with pytest.raises(UsageError, match=message):
            audiocodec.evaluate(folders / "ref", tmp_path / "out", **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'opus-7' is no baseline"):
        audiocodec.compare(folders / "ref", tmp_path / "out", baselines="opus-7")
    assert not (tmp_path / "out").exists()
