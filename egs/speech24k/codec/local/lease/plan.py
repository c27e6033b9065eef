"""`plan.py`: the calls of a lease, one after the other, with what each carries and how long it may take.

A call copies the checkout and the folders it carries to the card's machine, runs a command in the copy and brings back what
lies in the folder `$OUT`; what lies elsewhere stays there until the next call.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from common import FIRST, MIB, THEN, LeaseError, Pack, bytes_below, exit_status, in_mib, runs
from tree import heavy, travelling

COMMAND_CHARACTERS = 2000
RECEIVE_SECONDS = 10
END_SECONDS = 15  # between the time that a job is given and the limit of its call
LEAST_SECONDS = 5  # of training in a call


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        what: it is for.
        command: to run in the copy.
        carry: ignored folders that travel, relative to the checkout.
        seconds: limit of the command.
        travel_seconds: allowed for the way there, the answer and the next call.
        until: when the job ends by itself, in seconds from the first command on; 0: when it is done.
    """

    what: str
    command: str
    carry: tuple[str, ...]
    seconds: int
    travel_seconds: float
    until: int = 0


@dataclass(frozen=True)
class Terms:
    """What the card is lent for.

    Attributes:
        total_seconds: of the lease, from asking for the machine.
        call_seconds: the longest command.
        start_seconds: until the machine has started.
        reserve_seconds: that are not planned.
        answer_seconds: of a call, whatever travels.
        mib_seconds: for a MiB that travels.
        smoke_seconds: limit of the call that tries everything.
        starting_seconds: of a training call, before its first step.
        legs: calls that the first run is spread over.
        then_share: of the time to train, for a second run, which gets a call of its own.
        there: folder on the card's machine.
    """

    total_seconds: float
    call_seconds: float
    start_seconds: float
    reserve_seconds: float
    answer_seconds: float
    mib_seconds: float
    smoke_seconds: float
    starting_seconds: float
    legs: int
    then_share: float
    there: str


def calls(pack: Pack, lease: Path, tree: Path, terms: Terms) -> list[Call]:
    """Plan a lease.

    Args:
        pack: the packing list.
        lease: its folder.
        tree: the checkout.
        terms: of the lease.

    Raises:
        LeaseError: a call would carry too much, or too little time is left to train.
    """
    sizes = travelling(tree)
    weight = sum(sizes.values())
    carried = lease.resolve().relative_to(tree.resolve())
    job = shlex.quote(str(Path(__file__).with_name("job.py").resolve().relative_to(tree.resolve())))
    base = carried / "base"
    where = shlex.quote(terms.there)

    def call(what: str, words: str, folders: Sequence[Path], seconds: int, until: int = 0) -> Call:
        load = weight + sum(bytes_below(tree / folder) for folder in folders)
        if load > pack.call_mib * MIB:
            raise LeaseError(
                f"{what}: would carry {in_mib(load)}, a call carries {pack.call_mib:g} MiB, and the tree weighs {in_mib(weight)} "
                f"now: {heavy(sizes)}; leave out of it what was left out when it was packed (git sparse-checkout set --no-cone '/*' "
                "'!*.safetensors'; git sparse-checkout disable brings it back), or pack again"
            )
        if len(words) > COMMAND_CHARACTERS:
            raise LeaseError(f"{what}: the command has {len(words)} characters, {COMMAND_CHARACTERS} are allowed")
        travel = terms.answer_seconds + terms.mib_seconds * load / MIB
        return Call(what, words, tuple(map(str, folders)), seconds, travel, until)

    def receive(*folders: Path) -> str:
        return f"job={job}; python3 $job receive --there {where} {' '.join(shlex.quote(str(f)) for f in folders)}"

    planned = []
    for number, part in enumerate(pack.parts, 1):
        folders = [base, carried / part.name] if number == 1 else [carried / part.name]
        words, seconds, what = receive(*folders), RECEIVE_SECONDS, f"part {number} of {len(pack.parts)}"
        if number == 1:
            words, seconds = f"{words} && python3 $job smoke --there {where}", int(terms.smoke_seconds)
            what += ", and whether everything works"
        planned.append(call(what, words, folders, seconds))
    return [*planned, *_legs(planned, terms, runs(lease / "base"), weight, job, call)]


def _legs(
    planned: Sequence[Call], terms: Terms, names: Sequence[str], weight: int, job: str, call: Callable[..., Call]
) -> list[Call]:
    """The training calls. Each ends at a moment counted from the first command, and so has the time that those before left over."""
    begins = sum(c.seconds + c.travel_seconds for c in planned)
    between = END_SECONDS + terms.answer_seconds + terms.mib_seconds * weight / MIB
    rest = terms.then_share if THEN in names else 0.0
    legs = [(FIRST, (1 - rest) / terms.legs)] * terms.legs + [(THEN, rest)] * (THEN in names)
    whole = terms.total_seconds - terms.start_seconds - terms.reserve_seconds - begins - between * len(legs)
    lengths = [int(min(whole * share, terms.call_seconds - END_SECONDS)) for _, share in legs]
    if min(lengths) - terms.starting_seconds < LEAST_SECONDS:
        raise LeaseError(
            f"{len(planned)} calls bring everything there, and {min(lengths)} s are left for one of {len(legs)} to train; "
            "pack less (fewer clips), or leave large files out of the tree"
        )
    ends = [int(begins + between * number + length) for number, length in enumerate(accumulate(lengths))]
    made = []
    for number, ((name, _), length, end) in enumerate(zip(legs, lengths, ends)):
        longest = int(min(terms.call_seconds, length + END_SECONDS + (begins if number == 0 else between)))
        words = (
            f"python3 {job} train --there {shlex.quote(terms.there)} --until {end} --seconds {longest - END_SECONDS}"
        )
        words += f" --starting {terms.starting_seconds:g}" + (f" --run {name}" if name != FIRST else "")
        later = ends[number + 1 : terms.legs] if name == FIRST else []
        words += f" --later {' '.join(map(str, later))}" if later else ""
        made.append(call(f"training, {number + 1} of {len(legs)}", words, [], longest, end))
    return made


def text(planned: Sequence[Call], terms: Terms) -> str:
    """The plan to read and to copy from; a training call before the last ends when it has to, whatever its limit."""
    lines = [f"0:00  the machine is asked for, and is there by {_clock(terms.start_seconds)}"]
    now = terms.start_seconds
    for number, call in enumerate(planned, 1):
        lines.append(f"\n{_clock(now)}  call {number} of {len(planned)}: {call.what}; limit {call.seconds} s")
        lines.append(f"carry: {' '.join(call.carry) or 'nothing'}")
        lines.append(f"    {call.command}")
        now = (
            terms.start_seconds + call.until + END_SECONDS if call.until else now + call.seconds
        ) + call.travel_seconds
    lines.append(f"\n{_clock(now)}  the end at the latest, of {_clock(terms.total_seconds)}; give the machine back")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def main() -> int:
    """Read the arguments and print the plan."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lease", type=Path, required=True)
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--there", required=True)
    parser.add_argument("--legs", type=int, required=True)
    parser.add_argument("--then-share", type=float, required=True)
    for name in ("total", "call", "start", "reserve", "answer", "mib", "smoke", "starting"):
        parser.add_argument(f"--{name}-seconds", type=float, required=True)
    args = vars(parser.parse_args())
    lease, tree = args.pop("lease"), args.pop("tree")
    terms = Terms(**args)
    print(text(calls(Pack.read(lease / "base"), lease, tree, terms), terms))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
