"""The demo's server by plain HTTP: what it serves, whom it refuses, what it makes of good and bad audio."""

from __future__ import annotations

import base64
import http.client
import io as memory
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image  # matplotlib brings it
from support.demo_server import ask, played, post, serving, wav_bytes

from audiocodec.cli.main import main
from audiocodec.demo import recording as recording_module
from audiocodec.demo import shown
from audiocodec.demo.desk import KEPT
from audiocodec.demo.recording import MAX_BYTES, Recording
from audiocodec.demo.server import Server
from audiocodec.demo.versions import Coded, OpusVersion, Version, all_versions, model_versions, numbered, opus_versions
from audiocodec.demo.watch import Gone, Watch
from audiocodec.errors import AudioError
from audiocodec.reporting.plots import spectrogram
from audiocodec.tokens.token_file import TokenFile

RATE = 24_000
SAMPLE = Path(__file__).parents[2] / "egs/mini/codec/local/audio/it-flora/vm-forward.flac"


def noise(seconds: float, rate: int = RATE, channels: int = 1) -> np.ndarray:
    """Samples [S, C]."""
    return 0.1 * np.random.default_rng(0).standard_normal((round(seconds * rate), channels))


@pytest.fixture(scope="module")
def server(tiny_model_path: Path) -> Iterator[Server]:
    """Offers the tiny model, of 2 codebooks of 64, with 1 and with 2 of them."""
    with serving(numbered(model_versions(str(tiny_model_path))), note="There is no <Opus>.") as server:
        yield server


# What is served, and to whom


def test_the_page_loads_only_its_own_files(server: Server) -> None:
    status, headers, content = ask(server, "")
    html = content.decode()
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', html)
    assert {"page.css", "program.js"} <= set(loaded) <= {"page.css", "program.js", "data:,"}
    assert "There is no &lt;Opus&gt;." in html and "$" not in html
    for name in ("page.css", "program.js", "recorder.js"):
        status, headers, content = ask(server, name)
        assert status == 200 and b"http" not in content.replace(b"http://127.0.0.1", b""), name
    assert ask(server, "sample.flac")[2] == SAMPLE.read_bytes()
    for name in ("none.js", "../server.py", "%2e%2e/server.py", "recordings"):
        assert ask(server, name)[0] == 404


def test_it_listens_on_this_machine_only_and_at_an_address_that_nobody_guesses(server: Server) -> None:
    assert server.socket.getsockname() == ("127.0.0.1", server.port)
    assert server.address == f"http://127.0.0.1:{server.port}/{server.token}/" and len(server.token) >= 20
    for token in ("x", "%C3%A9", server.token[:-1], server.token + "x"):
        assert ask(server, "", token=token)[0] == 404
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 404


@pytest.mark.parametrize("host", ["example.org", "example.org:{port}", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_name_that_points_here_is_not_served(host: str, server: Server) -> None:
    """DNS rebinding: a page elsewhere whose name suddenly means this machine."""
    headers = {"Host": host.format(port=server.port)}
    assert ask(server, "", headers=headers)[0] == 403
    assert ask(server, "recordings", wav_bytes(noise(1), RATE), headers)[0] == 403


def test_other_pages_are_refused(server: Server) -> None:
    wav = wav_bytes(noise(1), RATE)
    port = server.port
    for origin in ("https://example.org", "null", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"):
        status, found = post(server, "recordings", wav, Origin=origin)
        assert status == 403 and "answers only" in found["error"]
    for name in ("127.0.0.1", "localhost"):
        origin = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert post(server, "recordings", wav, **origin)[0] == 200


# Good audio


def test_versions_are_what_the_command_line_makes(server: Server, tiny_model_path: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(wav_bytes(noise(1.7, 44_100, 2), 44_100))
    status, original = post(server, "recordings", source.read_bytes())
    assert status == 200 and (original["sample_rate"], original["channels"], original["goes_on"]) == (44_100, 2, False)
    mono = soundfile.read(source)[0].mean(axis=1)
    wav, rate = played(original["clip"])
    assert rate == 44_100 and np.abs(wav - mono).max() < 2**-15
    assert original["seconds"] == pytest.approx(1.7) and original["bytes"] == 2 * len(mono)
    for number in (1, 2):
        status, made = post(server, f"recordings/{original['id']}/{number}")
        act, out = tmp_path / f"{number}.act", tmp_path / f"{number}.wav"
        model = ["-m", str(tiny_model_path), "--runtime", "onnx", "--quiet"]
        assert main(["encode", str(source), "-o", str(act), "--num-codebooks", str(number), *model]) == 0
        assert main(["decode", str(act), "-o", str(out), *model]) == 0
        data = base64.b64decode(made["file"])
        assert status == 200 and data == act.read_bytes() and made["extension"] == ".act"
        wav, rate = played(made["clip"])
        assert rate == 44_100 and len(wav) == len(mono) and np.abs(wav - soundfile.read(out)[0]).max() < 2**-14
        assert made["bytes"] == len(data) and made["kbps"] == pytest.approx(8 * len(data) / 1.7 / 1000)
        frames = -(-round(1.7 * 24_000) // 320)
        assert made["kbps_payload"] == pytest.approx(6 * number * frames / 1.7 / 1000)
        codes = TokenFile.read(act).codes
        assert made["tokens"]["frames"] == frames == codes.shape[1] and made["tokens"]["frame_rate"] == 75
        assert made["tokens"]["first"] == [int(codes[n % number, n // number]) for n in range(8)]
        assert made["tokens"]["distinct"] == [len(set(row.tolist())) for row in codes]


def test_labels_say_model_and_bitrate(server: Server) -> None:
    labels = [version.label for version in server.desk.versions.values()]
    assert [label.rpartition("/")[2] for label in labels] == [
        "model.safetensors 1 of 2, 0.45 kbps",
        "model.safetensors 2 of 2, 0.9 kbps",
    ]


def test_the_models_of_the_package_at_all_bitrates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found, note = all_versions(["speech_24k", "speech_24k_residual", "speech_24k"])
    rest = [f"speech_24k_residual {k} of 8, {kbps} kbps" for k, kbps in ((1, 0.75), (2, 1.5), (4, 3), (8, 6))]
    assert [version.label for version in found.values()] == ["speech_24k, 1.2 kbps", *rest]
    assert list(found) == ["1", "2", "3", "4", "5"] and "opus-tools" in note


def test_opus_where_it_is_installed() -> None:
    versions, note = opus_versions()
    if note:
        pytest.skip(note)
    wav = soundfile.read(SAMPLE, dtype="float32")[0]
    coded = versions[0].code(Recording(wav, 16_000, 1, False), lambda: None)
    assert versions[0].label == "Opus, 6 kbps" and coded.data[:4] == b"OggS" and len(coded.wav) == len(wav)
    assert 5 < coded.payload_bits / (len(wav) / 16) < 8  # kbps, variable around the 6 that are asked for


def test_coding_looks_whether_somebody_waits(server: Server) -> None:
    def gone() -> None:
        raise Gone

    version, looks = server.desk.versions["1"], []
    recording = Recording(noise(12)[:, 0].astype(np.float32), RATE, 1, False)
    with pytest.raises(Gone):
        version.code(recording, gone)
    assert recording.tokens == {}
    version.code(recording, lambda: looks.append(len(recording.tokens)))
    assert looks.count(0) == 3 and looks.count(1) >= 1  # encoding takes pieces of 5 s
    with pytest.raises(Gone):  # its tokens are kept: it decodes
        version.code(recording, gone)


def test_rates_that_browsers_do_not_play_are_played_at_others() -> None:
    assert [
        Recording(np.zeros(9, np.float32), rate, 1, False).heard_rate for rate in (1000, 11_025, 48_000, 192_000)
    ] == [
        8000,
        11_025,
        48_000,
        48_000,
    ]


def test_of_a_long_file_the_beginning_is_read_and_no_more(server: Server) -> None:
    wav = noise(120, 8000).astype(np.float32)
    wav[40 * 8000 :] = np.nan  # which is refused where it is read
    status, found = post(server, "recordings", wav_bytes(wav, 8000, "FLOAT"))
    assert status == 200 and found["goes_on"] and found["seconds"] == 30
    assert np.abs(played(found["clip"])[0] - wav[: 30 * 8000, 0]).max() < 2**-15
    status, found = post(server, "recordings", wav_bytes(wav[: 30 * 8000], 8000, "FLOAT"))
    assert status == 200 and not found["goes_on"] and found["seconds"] == 30


def test_equal_tokens_have_equal_colours_and_neighbours_others() -> None:
    codes = np.array([[5, 6, 5, 65_535], [0, 1, 2, 0]])
    pixels = np.asarray(Image.open(memory.BytesIO(shown.strip(codes.astype(np.int32)))).convert("RGB")).astype(int)
    assert pixels.shape == (2, 4, 3)
    assert (pixels[0, 0] == pixels[0, 2]).all() and (pixels[1, 0] == pixels[1, 3]).all()
    assert np.abs(pixels[0, 0] - pixels[0, 1]).max() > 60 and np.abs(pixels[1, 0] - pixels[1, 1]).max() > 60


def test_the_spectrogram_of_the_original_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wav = noise(1)[:, 0].astype(np.float32)
    given, quiet = Recording(wav, RATE, 1, False), Coded(wav / 100, b"", ".opus", 0)
    heard: list[float] = []

    def counted(one: np.ndarray, rate: int) -> np.ndarray:
        heard.append(float(np.abs(one).max()))
        return spectrogram.power(one, rate)

    for module in (recording_module, shown):
        monkeypatch.setattr(module, "power", counted)
    pictures = [shown.recording(given), shown.coded(quiet, given), shown.coded(quiet, given)]
    assert heard == pytest.approx([np.abs(wav).max(), *[np.abs(wav).max() / 100] * 2])
    loud, low = (float(_pixels(one["spectrogram"]).mean()) for one in pictures[:2])
    assert loud > low + 30  # 40 dB lower than the original, in whose scale it is


def _pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(memory.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"), float)


# Bad audio and bad requests


def opposite(wav: np.ndarray) -> np.ndarray:
    return np.hstack([wav, -wav])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"Dear Sir or Madam", "not audio"),
        (wav_bytes(noise(1), RATE)[:-5000], "truncated"),
        (wav_bytes(noise(1) * np.nan, RATE, "FLOAT"), "NaN"),
        (wav_bytes(opposite(noise(1)), RATE), "cancel"),
        (wav_bytes(noise(0.05), RATE), "lasts 0.050 s; at least 0.1 s"),
        (wav_bytes(np.zeros((0, 1)), RATE), "no samples"),
        (wav_bytes(np.zeros((RATE, 1)), RATE), "it is silent"),
        (wav_bytes(np.vstack([np.zeros((31 * 8000, 1)), noise(1)]), 8000), "first seconds are silent"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(99), "ffmpeg"),
    ],
    ids=["empty", "text", "cut", "nan", "opposite", "short", "no samples", "silent", "silent beginning", "m4a"],
)
def test_bad_audio_is_refused_in_words(data: bytes, words: str, server: Server) -> None:
    status, found = post(server, "recordings", data)
    assert status == 422 and words in found["error"]
    assert str(server.folder) not in found["error"] and "/" not in found["error"].replace("ffmpeg/", "")
    assert list(server.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("length", "status", "words"),
    [
        (str(MAX_BYTES + 1), 413, "has 100 MiB; at most 100"),
        ("635040044", 413, "has 606 MiB; at most 100 are taken; cut out the part"),
        ("1" + "0" * 5000, 413, "at most 100"),
        ("-1", 411, "how long"),
        ("ten", 411, "how long"),
        ("", 411, "how long"),
    ],
)
def test_lengths_are_checked_before_anything_is_read(length: str, status: int, words: str, server: Server) -> None:
    found = post(server, "recordings", b"RIFF", **{"Content-Length": length})
    assert found[0] == status and words in found[1]["error"]


def test_what_is_not_there(server: Server) -> None:
    _, found = post(server, "recordings", wav_bytes(noise(1), RATE))
    for path in ("recordings/none/x", f"recordings/{found['id']}/none", f"recordings/{found['id']}/x/compressed"):
        status, said = post(server, path)
        assert status == 404 and "no longer has" in said["error"]
    for path in ("", "recordings/a", "recordings/a/b/c", "other"):
        assert post(server, path)[0] == 404
    assert ask(server, f"recordings/{found['id']}")[0] == 404  # nothing of a recording can be read back


def test_only_the_newest_recordings_are_kept(server: Server) -> None:
    names = [post(server, "recordings", wav_bytes(noise(0.2), RATE))[1]["id"] for _ in range(KEPT + 1)]
    assert post(server, f"recordings/{names[-1]}/1")[0] == 200
    assert post(server, f"recordings/{names[0]}/1")[0] == 404
    assert len(server.desk._recordings) == KEPT and names[0] not in server.desk._recordings


# Turns, and the end


class Slow:
    """A version that works until it is let go, or nobody waits for it."""

    label = "slow"

    def __init__(self) -> None:
        self.released, self.begun, self.ended, self.at_once, self.most = threading.Event(), 0, 0, 0, 0

    def code(self, recording: Recording, watch: Watch) -> Coded:
        self.begun += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            while not self.released.wait(0.02):
                watch()
        finally:
            self.at_once -= 1
            self.ended += 1
        return Coded(recording.heard, b"x", ".x", 8)


class Failing:
    """A version that cannot."""

    label = "failing"
    error: Exception = AudioError("the encoder is out of paper")

    def code(self, recording: Recording, watch: Watch) -> Coded:
        raise self.error


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def slow() -> Iterator[tuple[Server, Slow, str]]:
    """(server, its slow version, the path that asks for it)."""
    version = Slow()
    versions: dict[str, Version] = {"slow": version, "failing": Failing()}
    with serving(versions) as server:
        _, found = post(server, "recordings", wav_bytes(noise(0.2), RATE))
        yield server, version, f"recordings/{found['id']}/slow"


def begin(server: Server, path: str) -> socket.socket:
    """A request of which nobody reads the answer yet."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /{server.token}/{path} HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: 0\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def test_one_is_coded_at_a_time(slow: tuple[Server, Slow, str]) -> None:
    server, version, path = slow
    asking = [begin(server, path) for _ in range(3)]
    wait_until(lambda: version.begun == 1)
    time.sleep(0.5)
    assert version.begun == 1  # the others wait
    version.released.set()
    for connection in asking:
        assert connection.makefile("rb").readline() == b"HTTP/1.0 200 OK\r\n"
        connection.close()
    assert version.begun == 3 and version.most == 1


def test_work_ends_when_the_page_is_closed(slow: tuple[Server, Slow, str]) -> None:
    server, version, path = slow
    at_work = begin(server, path)
    wait_until(lambda: version.begun == 1)
    waiting = begin(server, path)
    time.sleep(0.3)
    waiting.close()
    time.sleep(0.5)
    at_work.close()
    wait_until(lambda: version.ended == 1)
    version.released.set()
    assert post(server, path)[0] == 200 and version.begun == 2  # the one that waited never began


def test_a_version_that_fails_says_why(slow: tuple[Server, Slow, str]) -> None:
    server, _, path = slow
    status, found = post(server, path.replace("slow", "failing"))
    assert status == 422 and found == {"error": "the encoder is out of paper"}
    for error in (RuntimeError("out of ink"), MemoryError()):
        server.desk.versions["failing"].error = error  # type: ignore[attr-defined]
        status, found = post(server, path.replace("slow", "failing"))
        words = "RuntimeError: out of ink" if isinstance(error, RuntimeError) else "not enough memory"
        assert status in (422, 500) and words in found["error"]


def test_an_upload_that_breaks_off_leaves_nothing(slow: tuple[Server, Slow, str]) -> None:
    server, _, _ = slow
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /{server.token}/recordings HTTP/1.0\r\nHost: localhost:{server.port}\r\nContent-Length: 9999\r\n\r\n"
    connection.sendall(head.encode() + b"RIFF")
    wait_until(lambda: list(server.folder.iterdir()))
    connection.close()
    wait_until(lambda: not list(server.folder.iterdir()))


def test_stopping_ends_the_work_and_removes_the_folder() -> None:
    version = Slow()
    with serving({"slow": version}) as server:
        _, found = post(server, "recordings", wav_bytes(noise(0.2), RATE))
        asking = begin(server, f"recordings/{found['id']}/slow")
        wait_until(lambda: version.begun == 1)
    assert version.ended == 1 and not server.folder.exists()
    assert asking.makefile("rb").read() == b""
    asking.close()


def test_opus_codes_what_is_heard() -> None:
    class Recorder:
        name, extension, kbps = "opus-6", ".opus", 6.0

        def code(self, wav: np.ndarray, rate: int) -> Coded:
            self.given = (wav, rate)
            return Coded(wav, b"1234", ".opus", 16)

    opus = Recorder()
    recording = Recording(np.ones(96_000, np.float32), 96_000, 1, False)
    made = OpusVersion(opus).code(recording, lambda: None)  # type: ignore[arg-type]
    assert opus.given[1] == 48_000 and len(opus.given[0]) == 48_000 and made.data == b"1234"
