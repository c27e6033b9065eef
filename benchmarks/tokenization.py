"""Cost of `audiocodec tokenize`: planning a million utterances, and what it spends beyond the network.

The audio is that of a folder, once. `network` encodes samples that are decoded already, `tokenize` is one worker on files:
the difference is decoding, resampling, level, Parquet. `--jobs` runs the whole command with so many processes. Seconds of
wall time mean something only on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from audiocodec import model_file
from audiocodec.errors import CorpusError
from audiocodec.tokenize import marks, planning
from audiocodec.tokenize.coding import encode_all
from audiocodec.tokenize.decoding import Decoder
from audiocodec.tokenize.plan import ModelFacts
from audiocodec.tokenize.sources.detect import source_of
from audiocodec.tokenize.utterance import Utterance
from audiocodec.tokenize.worker import Job, Worker
from benchmarks.cells import Cell, arguments, memory_mb, publish, report, run_cells

HEADER = ("what", "utterances", "audio s", "CPU s", "CPU s per audio s", "wall s", "peak MB")


def main() -> None:
    """Measure all cells."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokenization", description=__doc__)
    parser.add_argument("--audio", type=Path, help="folder of audio; without one only planning is measured")
    parser.add_argument("--model", help="model file or name (default: the one in the package)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="utterances to plan (%(default)s)")
    parser.add_argument("--jobs", type=int, nargs="*", default=[1, 2], help="processes of the command (%(default)s)")
    parser.add_argument("--format", choices=("parquet", "webdataset"), default="parquet", help="(%(default)s)")
    args = arguments(parser, 1, measure)
    cells: list[Cell] = [{"what": what, "rows": args.rows} for what in ("plan a manifest", "plan a Kaldi folder")]
    if args.audio:
        audio = {"audio": str(args.audio.resolve()), "model": args.model, "format": args.format}
        cells += [{"what": "network", **audio}, {"what": "tokenize", **audio}]
        cells += [{"what": f"command, {jobs} jobs", "jobs": jobs, **audio} for jobs in args.jobs]
    results = run_cells("benchmarks.tokenization", cells, args.rounds)
    rows = [[str(cell["what"]), *_shown(result)] for cell, result in zip(cells, results)]
    notes = ["Model on one thread, torch.", f"{os.getloadavg()[0]:.1f} processes were running on the machine."]
    publish(report("A corpus to tokens", notes, HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process: `utterances`, `audio` seconds, `cpu` and `wall` seconds, `peak` memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        if str(cell["what"]).startswith("plan"):
            return _planning(cell, Path(folder))
        return _command(cell, Path(folder)) if "jobs" in cell else _worker(cell, Path(folder))


def _planning(cell: Cell, folder: Path) -> dict[str, float]:
    source = (_manifest if "manifest" in cell["what"] else _kaldi)(folder, cell["rows"])
    cpu, wall = time.process_time(), time.perf_counter()
    model = ModelFacts("m", "00", "float32", 24_000, 320, (65_536,))
    plan = planning.make(source_of([source]), [source], planning.Request(model), folder / "out")
    assert plan.rows == cell["rows"]
    return {
        "utterances": cell["rows"],
        "audio": sum(2 + n % 10 for n in range(cell["rows"])),
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak": memory_mb("VmHWM"),
    }


def _manifest(folder: Path, rows: int) -> str:
    with open(folder / "m.jsonl", "w", encoding="utf-8") as lines:
        for n in range(rows):
            said = {"audio_filepath": f"speaker{n % 5000:05d}/{n:08d}.flac", "duration": 2 + n % 10}
            lines.write(json.dumps({**said, "text": "some words that were said", "speaker": str(n % 5000)}) + "\n")
    return str(folder / "m.jsonl")


def _kaldi(folder: Path, rows: int) -> str:
    with (
        open(folder / "wav.scp", "w") as scp,
        open(folder / "utt2dur", "w") as lengths,
        open(folder / "text", "w") as text,
    ):
        for n in range(rows):
            scp.write(f"u{n:08d} /corpus/speaker{n % 5000:05d}/{n:08d}.flac\n")
            lengths.write(f"u{n:08d} {2 + n % 10}\n")
            text.write(f"u{n:08d} some words that were said\n")
    return str(folder)


def _worker(cell: Cell, folder: Path) -> dict[str, float]:
    plan = _plan(cell, folder)
    worker = Worker(Job(str(folder / "out"), cell["model"], "torch", "cpu", threads=1))
    codec = worker._codec
    decoder = Decoder(codec.sample_rate, codec.level_db, 1)
    utterances = [
        Utterance(entry.id, entry.audio, entry.audio)
        for entry in source_of([cell["audio"]]).entries()  # type: ignore[union-attr]
    ]
    clips = [decoder.decode(utterance) for utterance in utterances]
    seconds = sum(len(clip.wav) for clip in clips if clip.wav is not None) / codec.sample_rate
    list(encode_all(codec, decoder, utterances[:1], None, 0.0))  # the first call allocates and plans
    cpu, wall = time.process_time(), time.perf_counter()
    if cell["what"] == "network":
        for clip in clips:
            assert clip.wav is not None
            list(codec.encode_blocks([clip.wav]))
    else:
        for shard in range(len(plan.shards)):
            worker.run(shard)
    return {
        "utterances": len(clips),
        "audio": seconds,
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak": memory_mb("VmHWM"),
    }


def _command(cell: Cell, folder: Path) -> dict[str, float]:
    plan = _plan(cell, folder)
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [
        "--format",
        cell["format"],
        "-d",
        str(folder / "out"),
        "--jobs",
        str(cell["jobs"]),
        "--threads",
        "1",
        "--device",
        "cpu",
        "--quiet",
    ]
    words += ["--shard-seconds", str(plan.shard_seconds), *(["-m", cell["model"]] if cell["model"] else [])]
    command = [sys.executable, "-m", "audiocodec.cli.main", "tokenize", cell["audio"], *words]
    subprocess.run(command, check=True)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = [marks.read(folder / "out" / plan.name_of(shard)) for shard in range(len(plan.shards))]
    return {
        "utterances": sum(mark.rows for mark in found),
        "audio": sum(mark.samples for mark in found) / plan.model.sample_rate,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall": wall,
        "peak": after.ru_maxrss * 1024 / 1e6,
    }


def _plan(cell: Cell, folder: Path) -> planning.Plan:
    """Twelve shards or more, so that two processes end together."""
    described = model_file.describe(cell["model"])
    config = described.config
    sizes = (config.quantizer.codebook_size,) * config.quantizer.num_codebooks
    facts = ModelFacts(config.name, described.fingerprint, "float32", config.sample_rate, config.hop_length, sizes)
    source = source_of([cell["audio"]])
    if not hasattr(source, "entries"):
        raise CorpusError(f"{cell['audio']}: need a folder of audio")
    count = sum(1 for _ in source.entries())
    request = planning.Request(facts, cell["format"], shard_seconds=3600 * max(1, count // 12) / planning.HOUR_FILES)
    return planning.make(source, [cell["audio"]], request, folder / "out")


def _shown(result: dict[str, float]) -> list[str]:
    cpu, audio = result["cpu"], result["audio"]
    per = f"{cpu / audio:.6f}" if cpu / audio < 0.001 else f"{cpu / audio:.4f}"
    return [
        f"{result['utterances']:.0f}",
        f"{audio:.0f}",
        f"{cpu:.1f}",
        per,
        f"{result['wall']:.1f}",
        f"{result['peak']:.0f}",
    ]


if __name__ == "__main__":
    main()
