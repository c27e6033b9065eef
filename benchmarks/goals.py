"""Whether the goals for speed and memory are reached: each a figure of one interleaved run, beside its limit.

Goals are named on the command line, or all are measured; `--list` shows them with their cells. EnCodec and FAISS are
needed for the goals that name them, which are left out where they are not installed. Seconds are CPU time of one thread
unless a goal is about threads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, NamedTuple

from benchmarks.cells import Cell, arguments, publish, report, run_cells

RECIPE = "simvq_24k"
HEADER = ("goal", "figure", "limit", "reached", "measured")
SIZES, SHORT, LONG = (65_536, 262_144), 75, 1000
LARGE = SIZES[-1]
MEMORY_LIMIT_MB = 64.0

Results = dict[str, dict[str, float]]


class Goal(NamedTuple):
    """A figure made of cells.

    Attributes:
        group: what it is named by on the command line.
        title: of its row.
        cells: what is measured, by the names that `figure` uses.
        figure: of the results of the cells.
        limit: that the figure must not pass.
        least: the figure must be at least the limit, not at most.
    """

    group: str
    title: str
    cells: dict[str, dict[str, Any]]
    figure: Callable[[Results], float]
    limit: float
    least: bool = False

    def reached(self, figure: float) -> bool:
        """Whether `figure` is on the right side of the limit."""
        return figure >= self.limit if self.least else figure <= self.limit


def main() -> None:
    """Measure the goals that were asked for, or the one cell."""
    groups = list(dict.fromkeys(goal.group for goal in all_goals(3600.0, 4, 2)))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.goals", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GOAL", help=f"of {', '.join(groups)} (default: all)")
    parser.add_argument("--long", type=float, default=3600.0, metavar="S", help="the longest audio (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=4, help="of the training steps (%(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="training steps to average over (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the training steps (%(default)s)")
    parser.add_argument("--list", action="store_true", help="show the goals and end")
    args = arguments(parser, 3, measure)
    if unknown := set(args.groups) - set(groups):
        parser.error(f"no such goal: {', '.join(sorted(unknown))}")
    goals = [g for g in all_goals(args.long, args.batch_size, args.steps, args.device) if not args.groups or g.group in args.groups]  # fmt: skip
    if args.list:
        for goal in goals:
            print(f"{goal.group}: {goal.title}\n    {json.dumps(goal.cells)}")
        return
    goals = [goal for goal in goals if all(map(_installed, goal.cells.values()))]
    if not goals:
        parser.error("encodec or faiss is needed and not installed")
    rows = _rows(goals, _results(goals, args.rounds))
    publish(report("Goals", [f"Median of rounds: {args.rounds}, over all cells in turn."], HEADER, rows), args.output)


def measure(cell: Cell) -> dict[str, float]:
    """One cell in this process, by the benchmark that it names."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command sets it; before torch is loaded
    import benchmarks.inference
    import benchmarks.quantizer
    import benchmarks.training

    if cell["benchmark"] == "exactness":
        from benchmarks.coders import difference_from_plain

        return {"error": difference_from_plain(cell["codec"])}
    measures = {
        "inference": benchmarks.inference.measure,
        "quantizer": benchmarks.quantizer.measure,
        "training": benchmarks.training.measure,
    }
    return measures[cell["benchmark"]](cell)


def all_goals(longest: float, batch_size: int, steps: int, device: str = "cpu") -> list[Goal]:
    """Every goal.

    Args:
        longest: seconds of the long audio.
        batch_size, steps, device: of training.
    """
    train = (batch_size, steps, device)
    return [*_coding(), *_quantizer(), *_shipped(longest), *_threads(), *_training(*train)]


def _coding() -> list[Goal]:
    goals = []
    for way, codec, limit, title in (
        ("encode", "seanet", 0.65, "encode 10 s, SEANet-512"),
        ("encode", "seanet+lstm", 0.65, "encode 10 s, SEANet-512 with LSTM"),
        ("decode", "seanet", 0.65, "decode 10 s, SEANet"),
        ("decode", "seanet+lstm", 0.65, "decode 10 s, SEANet with LSTM"),
        ("decode", "istft", 0.55, "decode 10 s, inverse STFT, 12 x 768"),
    ):
        cells = {"ours": _coder(codec, way), "peer": _coder("encodec", way)}
        goals.append(Goal(way, f"{title} / EnCodec", cells, _ratio("ours", "peer"), limit))
    exact = {"ours": {"benchmark": "exactness", "codec": "seanet"}}
    title = "decode, SEANet: largest difference from the plain form, of the peak"
    return [*goals, Goal("decode", title, exact, lambda r: r["ours"]["error"], 1e-5)]


def _quantizer() -> list[Goal]:
    goals = []
    for size in SIZES:
        for frames, least in ((SHORT, 6.0), (LONG, 3.0)):
            forms = {form: _search(form, size, frames) for form in ("lean", "published", "faiss")}
            where = f"search of {size:,} x 512, {frames:,} frames"
            both = {form: forms[form] for form in ("lean", "published")}
            title = f"{where}: form of the SimVQ repository / ours"
            goals.append(Goal("quantizer", title, both, _ratio("published", "lean"), least, True))
            title = f"{where}: other codes than that form's, near-ties aside"
            goals.append(Goal("quantizer", title, both, lambda r: r["published"]["wrong"], 0))
            both = {form: forms[form] for form in ("lean", "faiss")}
            goals.append(Goal("quantizer", f"{where}: FAISS flat / ours", both, _ratio("faiss", "lean"), 1.0, True))
    cells = {"large": _search("lean", LARGE, LONG), "long": _search("lean", 4096, 20 * LONG)}
    title = f"search of {LARGE:,} x 512, and of 4,096 in {20 * LONG:,} frames: MB beyond the codebook"
    return [*goals, Goal("quantizer", title, cells, lambda r: max(v["beyond"] for v in r.values()), MEMORY_LIMIT_MB)]


def _shipped(longest: float) -> list[Goal]:
    both = {way: _coder("audiocodec", way) for way in ("encode", "decode")}
    total = "shipped model, encode + decode of 10 s: CPU RTF"
    goals = [Goal("shipped", total, both, lambda r: r["encode"]["cpu"] + r["decode"]["cpu"], 0.06)]
    for way, ten in both.items():
        hour = {"short": ten, "long": _coder("audiocodec", way, seconds=longest)}
        title = f"{way} {longest:g} s / 10 s: peak memory"
        goals.append(Goal("memory", title, hour, _ratio("long", "short", "peak"), 1.25))
        minute = {"short": ten, "long": _coder("audiocodec", way, seconds=60.0)}
        goals.append(Goal("long", f"{way} 60 s / 10 s: CPU per s of audio", minute, _ratio("long", "short"), 1.1))
        eight = _coder("audiocodec", way, seconds=1.0, batch=8)
        batch = {"one": {**eight, "apart": True}, "eight": eight}
        goals.append(
            Goal("batch", f"{way} 8 x 1 s at once / one by one: CPU per s of audio", batch, _ratio("eight", "one"), 0.7)
        )
    return goals


def _threads() -> list[Goal]:
    goals = []
    for way in ("encode", "decode"):
        one, two = _coder("audiocodec", way), _coder("audiocodec", way, threads=2)
        quiet = {"one": one, "two": two}
        goals.append(
            Goal("threads", f"{way} 10 s: wall, 1 / 2 threads", quiet, _ratio("one", "two", "wall"), 1.6, True)
        )
        busy = {"one": one, "two": {**two, "neighbour": True}}
        title = f"{way} 10 s: wall, 2 threads beside a busy process / 1 thread"
        goals.append(Goal("threads", title, busy, _ratio("two", "one", "wall"), 1.3))
    return goals


def _training(batch_size: int, steps: int, device: str) -> list[Goal]:
    from benchmarks.training import REFERENCE

    sets = [f"train.batch_size={batch_size}", "discriminator.start_step=0"]
    cell = {
        "benchmark": "training",
        "config": RECIPE,
        "set": sets,
        "size": 4096,
        "steps": steps,
        "threads": 1,
        "device": device,
    }
    reference = {**cell, "set": [*sets, *REFERENCE]}
    sizes = {"small": {**cell, "size": 1024}, "large": {**cell, "size": LARGE}}
    return [
        Goal("training", f"step at batch {batch_size}, on {device}: stand-in for SimVQ's / ours",
             {"ours": cell, "reference": reference}, _step_ratio("reference", "ours", device), 1.5, True),
        Goal("training", f"step at batch {batch_size}, on {device}: {LARGE:,} codes / 1,024",
             sizes, _step_ratio("large", "small", device), 1.15),
    ]  # fmt: skip


def _coder(codec: str, direction: str, *, seconds: float = 10.0, threads: int = 1, batch: int = 1) -> dict[str, Any]:
    shape = {"seconds": seconds, "threads": threads, "batch": batch}
    return {"benchmark": "inference", "codec": codec, "direction": direction, **shape}


def _search(form: str, size: int, frames: int) -> dict[str, Any]:
    shape = {"size": size, "dim": 512, "frames": frames, "threads": 1}
    return {"benchmark": "quantizer", "form": form, "work": "search", **shape}


def _ratio(above: str, below: str, field: str = "cpu") -> Callable[[Results], float]:
    return lambda r: r[above][field] / r[below][field]


def _step_ratio(above: str, below: str, device: str) -> Callable[[Results], float]:
    return _ratio(above, below, "wall" if device == "cuda" else "cpu")


def _installed(cell: Cell) -> bool:
    needed = {"encodec", "faiss"} & {cell.get("codec"), cell.get("form")}
    with contextlib.suppress(ModuleNotFoundError):
        return all(find_spec(name) for name in needed)
    return False


def _results(goals: list[Goal], rounds: int) -> Results:
    """Of every cell, once, whichever goals need it; by its JSON."""
    cells = {json.dumps(cell): cell for goal in goals for cell in goal.cells.values()}
    return dict(zip(cells, run_cells("benchmarks.goals", list(cells.values()), rounds)))


def _rows(goals: list[Goal], results: Results) -> list[list[str]]:
    rows = []
    for goal in goals:
        found = {name: results[json.dumps(cell)] for name, cell in goal.cells.items()}
        figure = goal.figure(found)
        fields = ("cpu", "wall", "peak", "beyond", "wrong", "error")
        shown = [f"{name}: " + " ".join(f"{f} {r[f]:.4g}" for f in fields if f in r) for name, r in found.items()]
        limit = f"{'>=' if goal.least else '<='} {goal.limit:g}"
        rows.append([goal.title, f"{figure:.3g}", limit, "yes" if goal.reached(figure) else "no", "; ".join(shown)])
    return rows


if __name__ == "__main__":
    main()
