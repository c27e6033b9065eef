"""One file from the command line: CPU, wall and memory of the whole process, start included, beside EnCodec's command.

Ours runs on either runtime; EnCodec's is its own `main` with random weights read from a file in place of the download,
and soundfile in place of torchaudio.load, which needs more packages. The audio is noise at the level of speech.
`opusenc` and `c2enc`, where they are installed, show what classical codecs cost: Opus at 6 kbps, Codec2 at 0.7 kbps and,
as it wants it, 8 kHz.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.cells import CHECKOUT, publish, report

RATE = 24_000
PEER_KBPS = 6
LEVEL = 10 ** (-24 / 20)
HEADER = ("command", "direction", "CPU s", "wall s", "peak MB", "CPU beside encodec")
SAVE = (
    "import sys, torch, encodec; torch.save(encodec.EncodecModel.encodec_model_24khz(False).state_dict(), sys.argv[1])"
)
PEER = """
import sys, numpy, soundfile, torch, torchaudio
weights = sys.argv[1]
torch.hub.load_state_dict_from_url = lambda *_, **__: torch.load(weights)
def read(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(numpy.ascontiguousarray(audio.T)), rate
torchaudio.load = read
from encodec.__main__ import main
sys.argv = ["encodec", *sys.argv[2:]]
main()
"""


def main() -> None:
    """Run every command in turn, as often as asked for, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cli", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the audio (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="median of N (default: %(default)s)")
    parser.add_argument(
        "--peer-python", metavar="PATH", help="interpreter with EnCodec (default: this one, if it has it)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    args = parser.parse_args()
    peer = args.peer_python or (sys.executable if find_spec("encodec") else None)
    with tempfile.TemporaryDirectory() as folder:
        commands = _commands(Path(folder), args.seconds, args.threads, peer)
        results = _measure(commands, args.threads, args.rounds)
    notes = [f"{args.seconds:g} s of audio, threads: {args.threads}; median of {args.rounds} rounds over all commands."]
    if peer:
        notes.append(
            f"EnCodec: 24 kHz, {PEER_KBPS} kbps, random weights; it decodes no file, for want of torchaudio.save."
        )
    publish(report("One file from the command line", notes, HEADER, _rows(results)), args.output)


def _commands(folder: Path, seconds: float, threads: int, peer: str | None) -> dict[tuple[str, str], list[str]]:
    """(name, direction) -> command; tokens to decode are made here."""
    noise = LEVEL * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    audio, tokens = str(folder / "a.wav"), str(folder / "a.act")
    soundfile.write(audio, noise, RATE)
    ours = [sys.executable, "-m", "audiocodec"]
    tail = ["--force", "--quiet", "--device", "cpu", "--threads", str(threads), "--runtime"]
    runtimes = [name for name, package in (("onnx", "onnxruntime"), ("torch", "torch")) if find_spec(package)]
    commands = {}
    for verb, source, target in (("encode", audio, tokens), ("decode", tokens, str(folder / "b.wav"))):
        for runtime in runtimes:
            commands[f"audiocodec --runtime {runtime}", verb] = [*ours, verb, source, "-o", target, *tail, runtime]
        if peer and verb == "encode":
            weights = str(folder / "weights.pt")
            subprocess.run([peer, "-c", SAVE, weights], check=True)
            words = ["-b", str(PEER_KBPS), "-f", audio, str(folder / "a.ecdc")]
            commands["encodec", verb] = [peer, "-W", "ignore", "-c", PEER, weights, *words]
        if verb == "encode":
            commands |= {(name, verb): command for name, command in _classical(folder, noise)}
    return commands


def _classical(folder: Path, noise: np.ndarray) -> Iterator[tuple[str, list[str]]]:
    """The classical encoders that are installed."""
    if shutil.which("opusenc"):
        yield "opusenc", ["opusenc", "--quiet", "--bitrate", "6", str(folder / "a.wav"), str(folder / "a.opus")]
    if shutil.which("c2enc"):
        raw = folder / "a.raw"
        (32_767 * noise[:: RATE // 8000].clip(-1, 1)).astype("<i2").tofile(raw)
        yield "c2enc", ["c2enc", "700C", str(raw), str(folder / "a.c2")]


def _measure(
    commands: dict[tuple[str, str], list[str]], threads: int, rounds: int
) -> dict[tuple[str, str], dict[str, float]]:
    """CPU and wall seconds and peak MB of every command, the medians; a first round that warms the disk does not count."""
    count = str(threads)
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count}
    measured: dict[tuple[str, str], list[tuple[float, float, float]]] = {key: [] for key in commands}
    for number in range(rounds + 1):
        for key, command in commands.items():
            started = time.perf_counter()
            process = subprocess.Popen(command, env=environment)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"benchmarks.cli: {' '.join(key)} ended with status {process.returncode}")
            wall = time.perf_counter() - started
            if number:
                measured[key].append((usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024 / 1e6))
                print(f"round {number} of {rounds}: {' '.join(key)}", file=sys.stderr, flush=True)
    names = ("cpu", "wall", "peak")
    return {
        key: {name: statistics.median(column) for name, column in zip(names, zip(*values))}
        for key, values in measured.items()
    }


def _rows(results: dict[tuple[str, str], dict[str, float]]) -> list[list[str]]:
    rows = []
    for (name, verb), r in results.items():
        peer = results.get(("encodec", verb))
        beside = f"{r['cpu'] / peer['cpu']:.2f}" if peer else "-"
        rows.append([name, verb, f"{r['cpu']:.2f}", f"{r['wall']:.2f}", f"{r['peak']:.0f}", beside])
    return rows


if __name__ == "__main__":
    main()
