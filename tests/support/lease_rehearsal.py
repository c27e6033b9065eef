"""`make lease-rehearsal`: a lease from pack to unpack on this machine's CPU, within the limits of a borrowed card.

A tiny model and a small share of the audio; else what happens is what happens on the card: the commands that `lease.sh calls`
prints, in an environment that has only what is there. One of the training calls is killed at a random moment.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from support.lease_machine import MIB, Machine, Result
from support.workspace import copy_of, run

RECIPE = Path("egs") / "speech24k" / "codec"
AUDIO = Path("egs") / "mini" / "codec" / "local" / "audio"
READERS = ("soundfile", "cffi", "pycparser", "soxr")
PART_MIB = 4.5  # so that even a little audio takes several calls
CONFIG = """\
name: rehearsal
model:
  encoder: {base_channels: 4, strides: [4, 4, 4, 5]}
  decoder: {dim: 32, layers: 1}
quantizer: {codebook_size: 256, codebook_dim: 16}
loss: {mel_windows: [512], mel_bands: [40], stft_windows: [512]}
discriminator: {channels: 2, stft_windows: [512], start_step: 400, alone_steps: 50}
data: {segment_seconds: 0.5, on_device: true}
train:
  steps: 1000
  warmup_autoencoder_steps: 120
  batch_size: 4
  lr_warmup_steps: 10
  lr_final_ratio: 0.01
  ema_decay: 0.95
  checkpoint_interval: 500
  valid_interval: 500
  lean_minutes: 0.05
  valid_utterances: 2
  log_interval: 50
"""
THEN = """\
extends: rehearsal.yaml
name: then
quantizer: {num_codebooks: 2}
"""


@dataclass(frozen=True)
class Planned:
    """A call as `lease.sh calls` prints it."""

    what: str
    seconds: float
    carry: list[str]
    command: str


class Rehearsal:
    """A copy of the checkout, as it is when its models are left out, and a machine."""

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        """Make both.

        Args:
            folder: of everything; must not exist.
            python: interpreter of the card's machine; None: one with little, made from this environment.
        """
        names = (".gitignore", "audiocodec", "constraints.txt", "egs", "recipes")
        (folder / "checkout").mkdir(parents=True)
        self.folder, self.checkout = folder, copy_of(folder / "checkout", *names)
        for model in self.checkout.glob("audiocodec/pretrained/*/*.safetensors"):
            model.unlink()
        for start in (self.checkout / RECIPE).glob("start*"):
            shutil.rmtree(start)
        for words in (["init", "-q"], ["add", "-A"]):
            run(["git", *words], self.checkout)
        self.recipe = self.checkout / RECIPE
        self.machine = Machine(folder / "machine", python)
        self.given: list[str | Path] = []  # options of lease.sh pack
        self.done: list[tuple[Planned, Result]] = []

    def options(self) -> list[str | Path]:
        """Of `pack`: small parts, and readers of audio for the machine's Python, without network where it is this one."""
        command = [self.machine.python, "-c", "import sys; print('{}.{}'.format(*sys.version_info))"]
        version = run(command, self.folder).stdout.strip()
        listed = run(["git", "ls-files", "-z"], self.checkout).stdout.split("\0")
        weight = sum((self.checkout / name).stat().st_size for name in listed if name)
        options: list[str | Path] = ["--python-version", version, "--call-mib", f"{weight / MIB + PART_MIB:.2f}"]
        same = version == "{}.{}".format(*sys.version_info)
        return [*options, "--wheels", installed_wheels(self.folder / "wheels")] if same else options

    def pack(self, corpus: Path | None, *options: str | Path) -> str:
        """Pack a corpus, or the sample speech; returns what the command says."""
        given: list[str | Path] = ["--train-set", self.folder / "train", "--valid-set", self.folder / "valid"]
        if corpus is not None:
            given = ["--corpus", corpus, "--shards", "train-4.tar"]
        else:
            run(["audiocodec", "make-data", self.checkout / AUDIO, self.folder / "train"], self.folder)
            run(["audiocodec", "make-data", self.checkout / AUDIO / "ru-nsh", self.folder / "valid"], self.folder)
        (self.folder / "rehearsal.yaml").write_text(CONFIG)
        (self.folder / "then.yaml").write_text(THEN)
        self.given = ["--config", self.folder / "rehearsal.yaml", *given, *options]
        return run(["./lease.sh", "pack", *self.given], self.recipe).stderr

    def calls(self, *options: str) -> list[Planned]:
        """The plan, read from what is printed."""
        text = run(["./lease.sh", "calls", "--there", str(self.machine.there), *options], self.recipe).stdout
        found = re.findall(r"call \d+ of \d+: (.*); limit (\d+) s\ncarry: (.*)\n +(.*)\n", text)
        assert len(found) == text.count("limit")
        return [
            Planned(what, float(s), carry.split() if carry != "nothing" else [], words)
            for what, s, carry, words in found
        ]

    def call(self, planned: Planned, vanish: bool = False) -> Result:
        """One call, kept in `done`; it succeeds, or the machine vanishes before its end."""
        result = self.machine.call(self.checkout, planned.command, planned.carry, planned.seconds, vanish)
        assert result.status == (137 if vanish else 0), f"{planned.what}: {result.status}\n{result.output}"
        self.done.append((planned, result))
        return result

    def unpack(self, *back: Path) -> str:
        """Take over what came back; returns what the command says."""
        return run(["./lease.sh", "unpack", *back], self.recipe).stderr

    def table(self) -> str:
        """What the calls did."""
        lines = ["call                                          carried MiB   seconds   status   back"]
        for planned, result in self.done:
            back = f"{len(result.files)} files, {sum(result.files.values()) / MIB:.2f} MiB, at most {max(result.files.values(), default=0) / MIB:.2f}"
            lines.append(
                f"{planned.what[:44]:44}  {result.carried / MIB:11.1f}  {result.seconds:8.1f}  {result.status:7}   {back}"
            )
        return "\n".join(lines)


def installed_wheels(folder: Path) -> Path:
    """The readers of audio of this environment as wheels, for machines with this Python; without network."""
    folder.mkdir()
    for name in READERS:
        found = metadata.distribution(name)
        with zipfile.ZipFile(folder / f"{name}-{found.version}-installed.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            for file in found.files or []:
                if ".." not in file.parts and "__pycache__" not in file.parts:
                    wheel.write(str(found.locate_file(file)), str(file))
    return folder


def rehearse(folder: Path, corpus: Path | None, python: Path | None) -> None:
    """Everything, with a table at the end.

    Args:
        folder: to work in; must not exist.
        corpus: as of the recipe; None: the sample speech.
        python: as of `Rehearsal`.
    """
    begun, rehearsal = time.monotonic(), Rehearsal(folder, python)
    print(rehearsal.pack(corpus, *rehearsal.options()), end="")
    *brought, first, second = rehearsal.calls(
        "--call-minutes", "1", "--starting-seconds", "20", "--smoke-seconds", "150"
    )
    try:
        back = [rehearsal.call(planned).back for planned in (*brought, first)]
        back.append(rehearsal.call(second, vanish=True).back)
        print(f"taken away in the middle of {second.what}\n{rehearsal.unpack(back[-1])}", end="")
        back.append(rehearsal.call(second).back)
        print(rehearsal.unpack(*back), end="")
        run(
            ["audiocodec", "encode", AUDIO / "ru-nsh", "-m", RECIPE / "start", "-d", folder / "tokens"],
            rehearsal.checkout,
        )
        used, whole = sum(result.seconds for _, result in rehearsal.done), time.monotonic() - begun
        print(f"{rehearsal.table()}\n{used:.0f} s on the machine, {whole:.0f} s in all")
    finally:
        rehearsal.machine.release()


def main() -> int:
    """Rehearse in a temporary folder; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="of the recipe speech24k (default: the sample speech)")
    parser.add_argument("--python", type=Path, help="interpreter of the card's machine (default: one made for it)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rehearse(Path(folder) / "rehearsal", args.corpus, args.python)
    return 0


if __name__ == "__main__":
    sys.exit(main())
