"""`plan.py`: the calls of a lease, one after the other, with what each carries and how long it may take.

A call copies the checkout and the folders it carries to the card's machine, runs a command in the copy and brings back what
lies in the folder `$OUT`; what lies elsewhere stays there until the next call.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import MIB, LeaseError, Pack, bytes_below, exit_status, in_mib
from tree import heavy, travelling

COMMAND_CHARACTERS = 2000
RECEIVE_SECONDS = 10
END_SECONDS = 15  # between the time that a job is given and the limit of its call
LEAST_SECONDS = 10  # of training in a call


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        what: it is for.
        command: to run in the copy.
        carry: ignored folders that travel, relative to the checkout.
        seconds: limit of the command.
        travel_seconds: allowed for the way there, the answer and the next call.
    """

    what: str
    command: str
    carry: tuple[str, ...]
    seconds: int
    travel_seconds: float


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
        legs: calls that the training is spread over.
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

    def call(what: str, words: str, folders: Sequence[Path], seconds: int) -> Call:
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
        return Call(what, words, tuple(map(str, folders)), seconds, travel)

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
    spent = terms.start_seconds + terms.reserve_seconds + sum(c.seconds + c.travel_seconds for c in planned)
    travel = terms.answer_seconds + terms.mib_seconds * weight / MIB
    leg = int(min((terms.total_seconds - spent) / terms.legs - travel, terms.call_seconds))
    if leg - END_SECONDS - terms.starting_seconds < LEAST_SECONDS:
        raise LeaseError(
            f"{len(planned)} calls bring everything there, and {leg} s are left for each of {terms.legs} to train; "
            "pack less (fewer clips), or leave large files out of the tree"
        )
    for number in range(1, terms.legs + 1):
        train = (
            f"python3 {job} train --there {where} --seconds {leg - END_SECONDS} --starting {terms.starting_seconds:g}"
        )
        train += f" --later {' '.join([str(leg - END_SECONDS)] * (terms.legs - number))}" if number < terms.legs else ""
        planned.append(call(f"training, {number} of {terms.legs}", train, [], leg))
    return planned


def total_seconds(planned: Sequence[Call], terms: Terms) -> float:
    """What a lease takes when every command uses its limit."""
    return terms.start_seconds + sum(call.seconds + call.travel_seconds for call in planned)


def text(planned: Sequence[Call], terms: Terms) -> str:
    """The plan to read and to copy from."""
    lines = [f"0:00  the machine is asked for, and is there by {_clock(terms.start_seconds)}"]
    now = terms.start_seconds
    for number, call in enumerate(planned, 1):
        lines.append(f"\n{_clock(now)}  call {number} of {len(planned)}: {call.what}; limit {call.seconds} s")
        lines.append(f"carry: {' '.join(call.carry) or 'nothing'}")
        lines.append(f"    {call.command}")
        now += call.seconds + call.travel_seconds
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
    for name in ("total", "call", "start", "reserve", "answer", "mib", "smoke", "starting"):
        parser.add_argument(f"--{name}-seconds", type=float, required=True)
    args = vars(parser.parse_args())
    lease, tree = args.pop("lease"), args.pop("tree")
    terms = Terms(**args)
    print(text(calls(Pack.read(lease / "base"), lease, tree, terms), terms))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
