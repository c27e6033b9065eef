"""EnCodec as a baseline, with random weights from a file: its own codes, bytes and audio, and files that do not fit."""

from __future__ import annotations

import io as bytes_io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from encodec import EncodecModel, binary
from safetensors.torch import save_file

from audiocodec.audio import io
from audiocodec.cli.main import main
from audiocodec.evaluation.systems.catalogue import encodec
from audiocodec.evaluation.systems.encodec_24k import EnCodec24k

pytestmark = [
    pytest.mark.baselines,
    pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning"),  # EnCodec uses torch's old one
]
AUDIO = Path(__file__).parents[3] / "egs/mini/codec/local/audio"


@pytest.fixture(scope="module")
def model() -> Iterator[EncodecModel]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = EncodecModel.encodec_model_24khz(pretrained=False)
        for layer in made.quantizer.vq.layers:  # as it starts, all entries are zero and every code is 0
            layer._codebook.embed.normal_(0, 0.1)
            layer._codebook.inited.fill_(1)
        yield made.eval()


@pytest.fixture(scope="module")
def weights(model: EncodecModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state dict in both formats."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(model.state_dict(), folder / "encodec.th")
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "encodec.safetensors"
    )
    return folder


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Two seconds at 24 kHz and a little."""
    channels, rate = io.read(min(AUDIO.rglob("*.flac")))
    return io.resample(channels[0], rate, 24_000)[24_000 : 24_000 + 48_123]


@pytest.mark.parametrize(("kbps", "codebooks"), [(1.5, 2), (3, 4), (6, 8)])
@pytest.mark.parametrize("ending", ["th", "safetensors"])
def test_codes_bytes_and_audio_are_encodecs_own(
    kbps: float, codebooks: int, ending: str, model: EncodecModel, weights: Path, speech: np.ndarray
) -> None:
    coded = EnCodec24k(kbps, str(weights / f"encodec.{ending}")).code(speech, 24_000)
    model.set_target_bandwidth(kbps)
    with torch.inference_mode():
        frames = model.encode(torch.from_numpy(speech)[None, None])
        expected = model.decode(frames)[0, 0, : len(speech)].clamp(-1, 1).numpy()
    np.testing.assert_allclose(coded.wav, expected, atol=1e-6)
    num_frames = -(-len(speech) // 320)
    assert frames[0][0].shape == (1, codebooks, num_frames)
    assert coded.payload_bits == codebooks * 10 * num_frames
    stream = bytes_io.BytesIO(coded.data)
    header = binary.read_ecdc_header(stream)
    assert (header["al"], header["nc"], header["lm"]) == (len(speech), codebooks, False)
    assert len(stream.read()) == -(-coded.payload_bits // 8)
    stream.seek(len(coded.data) - -(-coded.payload_bits // 8))
    unpack = binary.BitUnpacker(10, stream)
    codes = [[unpack.pull() for _ in range(codebooks)] for _ in range(num_frames)]
    assert np.array_equal(np.array(codes).T, frames[0][0][0].numpy())


def test_other_rates_come_back_at_their_own_length(weights: Path, speech: np.ndarray) -> None:
    part = io.resample(speech, 24_000, 16_000)[:12_347]
    assert EnCodec24k(3, str(weights / "encodec.th")).code(part, 16_000).wav.shape == part.shape


def test_weights_that_do_not_fit_are_named(model: EncodecModel, tmp_path: Path) -> None:
    state = dict(model.state_dict())
    name = "encoder.model.0.conv.conv.bias"
    cases = {
        "missing": ({k: v for k, v in state.items() if k != name}, f"{name} is missing"),
        "shape": ({**state, name: torch.zeros(7)}, f"{name} is [7], expected [32]"),
        "unknown": ({**state, "more": torch.zeros(1)}, "more is unknown"),
        "other": ({"lm": torch.zeros(1)}, " more"),
        "nested": ({"best_state": state}, "expected a state dict"),
    }
    for case, (found, message) in cases.items():
        path = tmp_path / f"{case}.th"
        torch.save(found, path)
        (problem,) = EnCodec24k(3, str(path)).problems()
        assert str(path) in problem and message in problem
    (tmp_path / "text.th").write_text("nothing of the kind")
    (problem,) = EnCodec24k(3, str(tmp_path / "text.th")).problems()
    assert "cannot read weights" in problem


def test_compare_scores_the_baseline(weights: Path, speech: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "ref").mkdir()
    io.write(tmp_path / "ref/a.wav", speech, 24_000)
    words = ["compare", "--reference", str(tmp_path / "ref"), "-d", str(tmp_path / "out"), "--metrics", "mel"]
    words += ["--baseline", "reference", "--baseline", "encodec", "--weights"]
    assert main([*words, str(tmp_path / "ref/a.wav")]) == 2
    assert not (tmp_path / "out").exists()
    assert main([*words, str(weights / "encodec.th")]) == 0
    for baseline in encodec(str(weights / "encodec.th")):
        row = json.loads((tmp_path / "out" / baseline.name / "rows.jsonl").read_text())
        coded = tmp_path / "out" / baseline.name / "coded/a.ecdc"
        seconds = len(speech) / 24_000
        assert row["failures"] == {}
        assert row["kbps_payload"] == pytest.approx(baseline.kbps, rel=0.01)
        assert row["kbps_file"] == pytest.approx(8 * coded.stat().st_size / seconds / 1000)
