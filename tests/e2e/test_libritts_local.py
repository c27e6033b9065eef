"""The LibriTTS recipe against look-alike archives served from this machine, and the two tools it downloads with."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import soundfile
from support.workspace import CHECKOUT, copy_of, fingerprint, run

pytestmark = pytest.mark.recipe

FETCH = CHECKOUT / "recipes" / "utils" / "fetch.py"
UNPACK = CHECKOUT / "recipes" / "utils" / "unpack.py"


class Handler(SimpleHTTPRequestHandler):
    """Serves files; knows ranges if `ranges`; ends each answer after `most` bytes; notes what was asked."""

    ranges = True
    most = 1 << 60
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append((self.path, wanted))
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        begin = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if begin >= len(data) > 0:
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin : begin + self.most])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str, type[Handler]]]:
    """(a folder, the address it is served at, the class whose attributes change how)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Here", (Handler,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def archive(members: dict[str, bytes], mode: Literal["w", "w:gz"] = "w:gz") -> bytes:
    """A tar.gz of files, or a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def wav(seed: int, seconds: float) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.1, int(24_000 * seconds))
    soundfile.write(buffer, noise, 24_000, format="WAV")
    return buffer.getvalue()


def part(name: str, speakers: dict[str, int]) -> dict[str, bytes]:
    """Members of an archive laid out as LibriTTS: speaker/chapter/speaker_chapter_paragraph_sentence.wav."""
    members = {"LibriTTS/LICENSE.txt": b"CC BY 4.0\n"}
    for speaker, utterances in speakers.items():
        for number in range(utterances):
            stem = f"LibriTTS/{name}/{speaker}/11/{speaker}_11_000000_{number:06d}"
            members[f"{stem}.wav"] = wav(number, 0.6 + 0.1 * number)
            members[f"{stem}.normalized.txt"] = b"look-alike\n"
    return members


# --- the recipe


def test_stages_0_and_1(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, handler = served
    parts = {
        "train-clean-100": part("train-clean-100", {"103": 3, "19": 2}),
        "train-clean-360": part("train-clean-360", {"100": 2}),
        "dev-clean": part("dev-clean", {"84": 2}),
        "test-clean": part("test-clean", {"61": 1}),
    }
    sums = []
    for name, members in parts.items():
        (folder / f"{name}.tar.gz").write_bytes(archive(members))
        sums.append(f"{md5((folder / f'{name}.tar.gz').read_bytes())}  {name}.tar.gz\n")
    (tmp_path / "md5sums.txt").write_text("".join(sums))
    recipe = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs") / "egs" / "libritts" / "codec"
    command = ["./run.sh", "--stop-stage", "1", "--url", address, "--md5sums", str(tmp_path / "md5sums.txt")]
    command += ["--train-parts", "train-clean-100 train-clean-360"]

    run(command, recipe)
    sets = {path.name: (path / "utt2spk").read_text().splitlines() for path in (recipe / "data").iterdir()}
    assert sorted(sets) == ["dev-clean", "test-clean", "train"]
    assert sets["train"] == [
        "100-11-100_11_000000_000000 100",
        "100-11-100_11_000000_000001 100",
        "103-11-103_11_000000_000000 103",
        "103-11-103_11_000000_000001 103",
        "103-11-103_11_000000_000002 103",
        "19-11-19_11_000000_000000 19",
        "19-11-19_11_000000_000001 19",
    ]
    assert (recipe / "data" / "train" / "utt2num_samples").read_text().splitlines()[4].split()[1] == "19200"
    assert sorted(path.name for path in (recipe / "corpus").iterdir()) == sorted(parts)

    before, asked = [fingerprint(recipe / name) for name in ("data", "corpus")], len(handler.asked)
    run(command, recipe)
    assert [fingerprint(recipe / name) for name in ("data", "corpus")] == before
    assert len(handler.asked) == asked == 4


def test_a_part_nobody_knows_is_refused(tmp_path: Path) -> None:
    recipe = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs") / "egs" / "libritts" / "codec"
    command = ["./run.sh", "--stop-stage", "0", "--url", "http://127.0.0.1:9", "--train-parts", "train-clean-101"]
    assert "does not list train-clean-101.tar.gz" in run(command, recipe, 2).stderr
    assert "corpus/train-clean-100 is missing; run stage 0" in run(["./run.sh", "--stage", "1"], recipe, 1).stderr


# --- fetch.py


def test_fetch_goes_on_where_it_was(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, handler = served
    data = bytes(range(256)) * 1000
    (folder / "a").write_bytes(data)
    (tmp_path / "a.tmp").write_bytes(data[:1000])
    run([FETCH, f"{address}/a", tmp_path / "a", md5(data)], tmp_path)
    assert (tmp_path / "a").read_bytes() == data
    assert not (tmp_path / "a.tmp").exists()
    assert handler.asked == [("/a", "bytes=1000-")]


def test_fetch_survives_broken_connections(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, handler = served
    data = bytes(range(256)) * 1000
    (folder / "a").write_bytes(data)
    handler.most = 100_000
    run([FETCH, f"{address}/a", tmp_path / "a", md5(data)], tmp_path)
    assert (tmp_path / "a").read_bytes() == data
    assert [wanted for _, wanted in handler.asked] == [None, "bytes=100000-", "bytes=200000-"]


def test_fetch_from_a_server_without_ranges(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, handler = served
    handler.ranges = False
    (folder / "a").write_bytes(b"the whole file")
    (tmp_path / "a.tmp").write_bytes(b"the wh")
    run([FETCH, f"{address}/a", tmp_path / "a", md5(b"the whole file")], tmp_path)
    assert (tmp_path / "a").read_bytes() == b"the whole file"


def test_fetch_of_what_is_complete_but_not_renamed(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, _ = served
    (folder / "a").write_bytes(b"the whole file")
    (tmp_path / "a.tmp").write_bytes(b"the whole file")
    run([FETCH, f"{address}/a", tmp_path / "a", md5(b"the whole file")], tmp_path)
    assert (tmp_path / "a").read_bytes() == b"the whole file"


def test_fetch_refuses_a_wrong_md5(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    folder, address, _ = served
    (folder / "a").write_bytes(b"not what was expected")
    done = run([FETCH, f"{address}/a", tmp_path / "a", md5(b"x")], tmp_path, 1)
    assert f"MD5 is {md5(b'not what was expected')}, expected {md5(b'x')}" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["served"]


def test_fetch_of_what_is_not_there(served: tuple[Path, str, type[Handler]], tmp_path: Path) -> None:
    _, address, handler = served
    assert "404" in run([FETCH, f"{address}/b", tmp_path / "b", "0" * 32], tmp_path, 1).stderr
    assert len(handler.asked) == 1  # an answer is an answer: no second try
    (tmp_path / "c").write_bytes(b"")
    run([FETCH, f"{address}/c", tmp_path / "c", "0" * 32], tmp_path)
    assert len(handler.asked) == 1


# --- unpack.py


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("/L/p/evil"), "leads out of the archive"),
        (member("../evil"), "leads out of the archive"),
        (member("L/p/../../../evil"), "leads out of the archive"),
        (member("L/p/..\\evil"), "leads out of the archive"),
        (member("L/p/link", tarfile.SYMTYPE, "/etc"), "neither a file nor a folder"),
        (member("L/p/link", tarfile.LNKTYPE, "L/p/good"), "neither a file nor a folder"),
        (member("L/p/pipe", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (member("L/p/device", tarfile.CHRTYPE), "neither a file nor a folder"),
        (member("L/p/good"), "twice"),
    ],
)
def test_unpack_refuses(bad: tarfile.TarInfo, message: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with tarfile.open(work / "a.tar.gz", "w:gz") as tar:
        tar.addfile(member("L/p/good"))
        tar.addfile(bad)
    done = run([UNPACK, "a.tar.gz", "L/p", "out"], work, 1)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in work.iterdir()] == ["a.tar.gz"]
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def _named(name: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    info = tarfile.TarInfo("L/p/a")
    info.pax_headers = {"path": name}
    return [(info, b"")]


def _sparse() -> list[tuple[tarfile.TarInfo, bytes]]:
    info = tarfile.TarInfo("L/p/a")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)}
    info.size = 1536
    return [(info, b"1\n0\n512\n".ljust(1536, b"\0"))]


def _large(size: int) -> list[tuple[tarfile.TarInfo, bytes]]:
    info = tarfile.TarInfo("L/p/a")
    info.size = size
    return [(info, bytes(size))]


def _long_header() -> list[tuple[tarfile.TarInfo, bytes]]:
    info = tarfile.TarInfo("L/p/a")
    info.pax_headers = {"comment": "x" * 2_000_000}
    return [(info, b"")]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (_named("L/p/a\0b"), "NUL byte"),
        (_named("L/p/" + "d/" * 2000 + "a"), "nested deeper"),
        (_sparse(), "sparse"),
        (_large(110_000_000), "far more than its size"),
        (_long_header(), "a header of 2000"),
    ],
    ids=["nul", "deep", "sparse", "bomb", "header"],
)
def test_unpack_refuses_what_grows(members: list[tuple[tarfile.TarInfo, bytes]], message: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    done = run([UNPACK, "a.tar.gz", "L/p", "out"], tmp_path, 1)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_unpack_refuses_every_cut_archive(tmp_path: Path) -> None:
    whole = archive({"L/p/a": os.urandom(3000), "L/p/b/c": b"2"})
    path = tmp_path / "a.tar.gz"
    wrong_checksum = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]
    for damaged in [*(whole[:length] for length in range(0, len(whole), 97)), whole[:-1], wrong_checksum]:
        path.write_bytes(damaged)
        done = run([UNPACK, path, "L/p", tmp_path / "out"], tmp_path, 1)
        assert "Traceback" not in done.stderr
        assert [left.name for left in tmp_path.iterdir()] == ["a.tar.gz"]


def test_unpack_refuses_every_cut_tar(tmp_path: Path) -> None:
    """One without compression has no checksum: what was cut off at the end of a file looks like a shorter archive."""
    whole = archive({"a": os.urandom(700), "b": b"2"}, "w").rstrip(b"\0")
    whole += bytes(-len(whole) % 512 + 1024)
    for length in range(0, len(whole), 512):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        assert "damaged" in run([UNPACK, "a.tar", ".", "out"], tmp_path, 1).stderr
        assert [left.name for left in tmp_path.iterdir()] == ["a.tar"]
    (tmp_path / "a.tar").write_bytes(whole)
    assert "out: 2 files" in run([UNPACK, "a.tar", ".", "out"], tmp_path).stderr


def test_unpack_keeps_the_tree_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(archive({"L/p/a": b"1", "L/p/b/c": b"2", "L/q/d": b"3", "L/readme": b"4"}))
    assert "holds no files below L/r" in run([UNPACK, "a.tar.gz", "L/r", "out"], tmp_path, 1).stderr
    run([UNPACK, "a.tar.gz", "L/p", "out"], tmp_path)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {"a": b"1", "b/c": b"2"}
    before = fingerprint(tmp_path)
    assert "is there" in run([UNPACK, "a.tar.gz", "L/p", "out"], tmp_path).stderr
    assert fingerprint(tmp_path) == before
