"""What the benchmarks share: one fresh process per cell, peak memory from the kernel, a markdown report.

A cell is measured in a process of its own, so that peak memory is its own and nothing is warm from another cell.
Rounds go over all cells before any is repeated: a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from audiocodec.machine import cpu_name
from audiocodec.markdown import table

Cell = Mapping[str, Any]
CHECKOUT = Path(__file__).parents[1]
MEASURE_SECONDS = 0.5  # short work is repeated until it has lasted so long


def arguments(
    parser: argparse.ArgumentParser, rounds: int | None, measure: Callable[[Cell], Mapping[str, float]]
) -> argparse.Namespace:
    """Declare the options that every benchmark has, and parse all; a call for one cell prints what `measure` finds and ends.

    Args:
        parser: with the benchmark's own options.
        rounds: default of `--rounds`; None: what is measured is the same every time, and there is no such option.
        measure: one cell.
    """
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, metavar="N", help="median of N (%(default)s)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the table to FILE as well")
    parser.add_argument("--cell", help=argparse.SUPPRESS)  # JSON: measure this in this process and print the result
    args = parser.parse_args()
    if args.cell:
        print(json.dumps(measure(json.loads(args.cell))))
        sys.exit(0)
    return args


def run_cells(module: str, cells: Sequence[Cell], rounds: int) -> list[dict[str, float]]:
    """Measure every cell in fresh processes.

    Args:
        module: name of the benchmark, whose `--cell` is called.
        cells: what to measure; `threads`, where there is one, is the number of CPU threads, `environment` what is
            added to the process's, `checkout` another state of the repository, whose benchmark is called.
        rounds: how often to go over all cells.

    Returns:
        Per cell the median of every value over the rounds.
    """
    results: list[list[dict[str, float]]] = [[] for _ in cells]
    for number in range(rounds):
        for cell, values in zip(cells, results):
            values.append(_run_cell(module, cell))
            shown = " ".join(f"{name}={value}" for name, value in cell.items())
            found = " ".join(f"{name} {value:.4g}" for name, value in values[-1].items())
            print(f"round {number + 1} of {rounds}: {shown}: {found}", file=sys.stderr, flush=True)
    return [{name: statistics.median(v[name] for v in values) for name in values[0]} for values in results]


def _run_cell(module: str, cell: Cell) -> dict[str, float]:
    threads = str(cell.get("threads", 1))
    checkout = str(cell.get("checkout") or CHECKOUT)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONPATH": checkout}
    environment |= cell.get("environment", {})
    command = [sys.executable, "-m", module, "--cell", json.dumps(dict(cell))]
    done = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{module}: cell {json.dumps(dict(cell))} failed with status {done.returncode}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds (all threads) and wall seconds of one call of `work`, the mean over as many as need be."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while calls == 0 or time.perf_counter() - wall < MEASURE_SECONDS:
        work()
        calls += 1
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


@contextlib.contextmanager
def neighbour() -> Iterator[None]:
    """Leave this process the first two of its CPUs, with a process that never rests on the second of them."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    os.sched_setaffinity(0, cpus)
    busy = f"import os; os.sched_setaffinity(0, [{cpus[-1]}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", busy])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def memory_mb(field: str) -> float:
    """A memory figure of this process in MB (10^6 bytes): `VmRSS` is what it holds now, `VmHWM` the most it ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise SystemExit(f"/proc/self/status has no {field}: the memory benchmarks need Linux")


def report(title: str, notes: Sequence[str], header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown page: title, the command, the machine, notes, the table."""
    program, *arguments = sys.orig_argv
    lines = [f"# {title}", "", f"    {Path(program).name} {' '.join(arguments)}", "", _machine(), ""]
    lines += [" ".join(notes), "", table(header, rows, numbers=True), ""]
    return "\n".join(lines)


def publish(text: str, output: Path | None) -> None:
    """Print a report and write it where the user wants it."""
    print(text)
    if output is not None:
        output.write_text(text, encoding="utf-8")


def _machine() -> str:
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({cpu_name()}), Python {platform.python_version()}, "
        f"torch {metadata.version('torch')}, audiocodec {metadata.version('audiocodec')}."
    )
