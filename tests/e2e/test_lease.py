"""A lease in its short form: the calls on an imitated machine, one of them killed; limits, and what can go wrong on the way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.lease_machine import LimitError, Result
from support.lease_rehearsal import AUDIO, RECIPE, Planned, Rehearsal
from support.workspace import CHECKOUT, run

pytestmark = [pytest.mark.recipe, pytest.mark.slow, pytest.mark.timeout(900)]  # of a machine on which much else runs

SPEECH = AUDIO / "ru-nsh"
LOCAL = CHECKOUT / RECIPE / "local" / "lease"
# Training calls of 25 seconds: the first state comes after 3, and it is killed at most 4 later. Time to start where much else runs.
SHORT = (
    "--legs",
    "1",
    "--total-minutes",
    "30",
    "--call-minutes",
    "3",
    "--starting-seconds",
    "135",
    "--smoke-seconds",
    "400",
)


@pytest.fixture(scope="module")
def lease(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A pack of the sample speech, in parts, and a machine to which nothing has been brought."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("lease") / "rehearsal")
    said = rehearsal.pack(None, *rehearsal.options(), "--then", rehearsal.folder / "then.yaml")
    assert "begins with random weights; 2 parts" in said
    yield rehearsal
    rehearsal.machine.release()


@pytest.fixture(scope="module")
def plan(lease: Rehearsal) -> list[Planned]:
    return lease.calls(*SHORT)


@pytest.fixture(scope="module")
def results(lease: Rehearsal, plan: list[Planned]) -> list[Result]:
    """What the calls brought back; the first training call is killed at a random moment, and made again."""
    *brought, training, then = plan
    found = [*(lease.call(planned) for planned in brought), lease.call(training, vanish=True), lease.call(training)]
    return [*found, lease.call(then)]


def test_everything_is_tried_before_it_is_trained(results: list[Result]) -> None:
    assert "1 of 2 parts are there; lacking: part-2" in results[0].output
    assert "all phases work" in results[0].output and "quantization on" in results[0].output
    assert "step 10  validation" in results[0].output
    assert "2 of 2 parts are there\n" in results[1].output
    assert results[0].files == results[1].files == {}


def test_the_card_has_no_readers_of_audio_and_metrics(lease: Rehearsal) -> None:
    code = "import importlib.util as u; print([n for n in {!r} if u.find_spec(n)])"
    names = ["torch", "accelerate", "soundfile", "soxr", "librosa", "pesq", "pystoi", "scipy", "audiocodec"]
    assert (
        run([lease.machine.python, "-E", "-c", code.format(names)], lease.folder).stdout.strip()
        == "['torch', 'accelerate']"
    )


def test_what_comes_back_is_of_use(
    lease: Rehearsal, results: list[Result], tiny_model_path: Path, tmp_path: Path
) -> None:
    (killed, last), start = results[-3:-1], lease.recipe / "start"
    assert re.search(
        r"0 are behind it: 0:00 without quantization, 0:\d\d quantized, 0:\d\d discriminators alone, 0:\d\d against them, 0:\d\d the end",
        killed.output,
    )
    start.mkdir()
    shutil.copyfile(tiny_model_path, start / "model.safetensors")
    said = run(["./lease.sh", "unpack", killed.back], lease.recipe, 1).stderr
    assert (
        "start/model.safetensors: is a model of another shape (tiny); --force true puts rehearsal in its place" in said
    )
    assert (start / "model.safetensors").read_bytes() == tiny_model_path.read_bytes()
    run(["./lease.sh", "unpack", "--force", "true", killed.back], lease.recipe)
    assert sorted(path.name for path in start.iterdir()) == ["discriminators.safetensors", "model.safetensors"]
    assert step_of(start) >= 0
    lease.unpack(killed.back, last.back)
    assert step_of(start) > 0
    run(["audiocodec", "encode", lease.checkout / SPEECH, "-m", start, "-d", tmp_path / "tokens"], tmp_path)
    assert len(list((tmp_path / "tokens").rglob("*.act"))) == 4
    log = (lease.recipe / "lease" / "logs" / "train.log").read_text()
    assert log.count("training on cpu") == 2 and "resumed from" in log and "quantization on" in log


def test_a_second_run_begins_with_what_the_first_has_made(lease: Rehearsal, results: list[Result]) -> None:
    first, then = results[-2:]
    assert "0:00 goes on from lean, 0:" in then.output
    said = run(["./lease.sh", "unpack", then.back], lease.recipe, 1).stderr
    assert "quantizer differs: num_codebooks is 2, packed was 1" in said
    options = ["--run", "then", "--start", "second"]
    said = run(["./lease.sh", "unpack", *options, first.back], lease.recipe, 1).stderr
    assert "quantizer differs" in said and not (lease.recipe / "second").exists()
    run(["./lease.sh", "unpack", *options, then.back], lease.recipe)
    described = json.loads(run(["audiocodec", "info", "second", "--json"], lease.recipe).stdout)
    assert described["num_codebooks"] == 2
    log = (lease.recipe / "lease" / "logs" / "train.log").read_text()
    assert f"begins with the weights of {lease.machine.there}/exp-config/lean/model.safetensors" in log
    assert re.search(r"codec: fresh \d+: encoder\.layers\.14\.conv\.", log)  # the latents are made anew for more bits
    shutil.rmtree(lease.recipe / "second")  # it would travel


def step_of(folder: Path) -> int:
    described = json.loads(run(["audiocodec", "info", folder, "--json"], folder).stdout)
    return int(described["notes"]["step"])


# --- limits


def test_a_lease_takes_less_than_fifteen_minutes(lease: Rehearsal) -> None:
    """Two minutes to start, 45 s that are not planned, 15 s for the last call to end after its job."""
    plan = lease.calls()
    assert [len(planned.carry) for planned in plan] == [2, 1, 0, 0, 0]
    assert all(planned.seconds <= 590 and len(planned.command) < 2000 for planned in plan)
    first, second, last = (int(re.findall(r"--until (\d+)", planned.command)[0]) for planned in plan[2:])
    assert plan[2].command.endswith(f" --later {second}") and 850 - 20 < 120 + last + 15 <= 900 - 45
    assert plan[4].command.endswith(" --run then") and " --later" not in plan[3].command + plan[4].command
    before = sum(planned.seconds for planned in plan[:2])
    assert abs((second - first) - (first - before)) < 40
    assert abs((last - second) - 0.45 * (last - before)) < 40  # --then-share


def test_a_tree_that_is_too_heavy_is_refused(lease: Rehearsal) -> None:
    heavy = lease.checkout / "heavy.bin"
    heavy.write_bytes(bytes(5 << 20))
    try:
        said = run(["./lease.sh", "calls"], lease.recipe, 1).stderr
        assert "part 1 of 2, and whether everything works: would carry" in said
        assert "heavy.bin (5 MiB)" in said and "git sparse-checkout" in said
        heavy.write_bytes(bytes(63 << 20))
        with pytest.raises(LimitError, match="would travel"):
            lease.machine.call(lease.checkout, "true", [], 5)
        said = run(["./lease.sh", "pack", *lease.given, "--lease", "other"], lease.recipe, 1).stderr
        assert "the files that travel weigh" in said and "heavy.bin (63 MiB)" in said
    finally:
        heavy.unlink()
    assert not list(lease.recipe.glob("other*"))


def test_too_little_time_is_refused(lease: Rehearsal) -> None:
    said = run(["./lease.sh", "calls", "--total-minutes", "4"], lease.recipe, 1).stderr
    assert "s are left for one of 3 to train" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nothing"], "no such configuration: nothing"),
        (["--train-set", "nowhere"], "no nowhere or no "),
        (["--settings", "train.valid_scores=[stoi]"], "train.valid_scores: stoi: cannot be computed there"),
        (["--settings", "train.stepps=1"], "unknown key"),
        (["--wheels", "conf"], "conf: has no wheel of soundfile, cffi, pycparser, soxr"),
        (["--init-from", "nothing"], "nothing: no such model"),
        (
            ["--settings", "model.encoder.base_channels=3 model.decoder.dim=20", "--init-from", "TINY"],
            "none of its weights fit",
        ),
    ],
)
def test_what_cannot_be_packed(lease: Rehearsal, options: list[str], message: str, tiny_model_path: Path) -> None:
    words = [str(tiny_model_path) if word == "TINY" else word for word in options]
    done = run(["./lease.sh", "pack", *lease.given, "--lease", "other", *words], lease.recipe, None)
    assert done.returncode in (1, 2) and message in done.stderr and "Traceback" not in done.stderr
    assert not list(lease.recipe.glob("other*"))


# --- on the way there


@pytest.fixture
def parts(lease: Rehearsal, tmp_path: Path) -> Path:
    """The folders that travel, to damage."""
    return shutil.copytree(lease.recipe / "lease", tmp_path / "parts")


def job(there: Path, *words: str | Path, status: int = 0, out: Path | None = None, code: str = "") -> str:
    """Run the job with this interpreter; returns what it says."""
    verb, *rest = words
    program = f"import sys; sys.path.insert(0, {str(LOCAL)!r}); {code or 'pass'}; import job; sys.exit(job.exit_status(job.main))"
    env = {"OUT": str(out)} if out else {}
    done = run([sys.executable, "-c", program, verb, "--there", there, *rest], there.parent, status, env)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_a_part_that_is_not_whole_is_asked_for_again(lease: Rehearsal, parts: Path, tmp_path: Path) -> None:
    there, stream = tmp_path / "there", parts / "part-2" / "stream"
    whole = stream.read_bytes()
    job(there, "receive", parts / "base", parts / "part-1")
    stream.write_bytes(whole[:-1])
    assert f"{len(whole) - 1} of {len(whole)} bytes came; send it again" in job(
        there, "receive", parts / "part-2", status=1
    )
    stream.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert "damaged on the way, or of another pack" in job(there, "receive", parts / "part-2", status=1)
    train = ["train", "--until", "600", "--seconds", "20", "--starting", "5"]
    assert "part-2 did not come" in job(there, *train, status=1, out=parts)
    stream.write_bytes(whole)
    assert "2 of 2 parts are there" in job(there, "receive", parts / "part-2")
    assert "OUT has to name the folder" in job(there, *train, status=1)
    assert "and starting alone takes 30" in job(there, *train[:-1], "30", status=1, out=parts)
    names = sorted(str(path.relative_to(there)) for path in (there / "audio").iterdir())
    assert len(names) == 16 and names[0] == "audio/train-00000.flac"


def test_what_was_not_carried_or_fits_nowhere(parts: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert "pack.json: No such file" in job(there, "receive", parts / "part-1", status=1)
    assert "did not come with the call" in job(there, "receive", parts / "base", parts / "part-7", status=1)
    (parts / "part-1").rename(parts / "part-7")
    assert "the pack has no such part; it has part-1, part-2" in job(
        there, "receive", parts / "base", parts / "part-7", status=1
    )
    full = "import shutil, collections; shutil.disk_usage = lambda path: collections.namedtuple('U', 'free')(1000)"
    assert "0 MiB are free, " in job(there, "receive", parts / "part-2", status=1, code=full)


@pytest.mark.parametrize(
    ("left", "compiles", "said"),
    [
        ("0", "True", ""),
        ("1", "False", "compiled steps fail here: no compiler\ntrains without compiling\n"),
        ("", "True", "compiling has taken too long to be waited for; what it has done so far is used\n"),
        ("none", "True", ""),
    ],
)
def test_what_becomes_of_compiling_beside_the_calls(left: str, compiles: str, said: str, tmp_path: Path) -> None:
    """What `smoke` leaves: the number of a process and its log; what that leaves at its end: its exit status."""
    (tmp_path / "warm.log").write_text("no compiler")
    with subprocess.Popen(["sleep", "100"], start_new_session=True) as process:
        if left != "none":
            (tmp_path / "warming").write_text(str(process.pid))
        if left in ("0", "1"):
            (tmp_path / "warmed").write_text(left)
        code = (
            f"import sys, time; sys.path.insert(0, {str(LOCAL)!r}); from train import _warmed; from pathlib import Path"
        )
        done = run([sys.executable, "-c", f"{code}; print(_warmed(Path('.'), time.monotonic() + 1))"], tmp_path)
        assert done.stdout == f"{said}{compiles}\n"
        assert (process.poll() is None) == (left != "")
        process.kill()


# --- on the way back


@pytest.fixture
def back(results: list[Result], tmp_path: Path) -> Path:
    """What the first leg brought back, to damage."""
    return shutil.copytree(results[-3].back, tmp_path / "back")


def refused(lease: Rehearsal, back: Path, *options: str | Path) -> str:
    """What unpack says; nothing is put where the next run begins."""
    shutil.rmtree(lease.recipe / "start", ignore_errors=True)
    done = run(["./lease.sh", "unpack", *options, back], lease.recipe, 1)
    assert "Traceback" not in done.stderr and not list(lease.recipe.glob("start*"))
    return done.stderr


def test_what_came_back_damaged_is_refused(lease: Rehearsal, back: Path) -> None:
    part = next(back.glob("state-*/part-0"))
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    assert "no whole state came back: " in (said := refused(lease, back)) and "MiB came back" in said
    part.write_bytes(whole[:-1] + b"?")
    assert "part-0: damaged on the way" in refused(lease, back)
    part.unlink()
    assert "part-0: did not come back" in refused(lease, back)
    (part.parent / "state.json").write_text("{")
    assert f"{part.parent}: damaged: " in refused(lease, back)
    (part.parent / "state.json").unlink()
    assert "nothing named state-*/state.json" in refused(lease, back)
    assert "no such folder" in refused(lease, back / "none")


def test_what_came_back_of_something_else_is_refused(lease: Rehearsal, back: Path, tmp_path: Path) -> None:
    other = shutil.copytree(lease.recipe / "lease", tmp_path / "other")
    text = (other / "base" / "config.yaml").read_text()
    (other / "base" / "config.yaml").write_text(text.replace(", dim: 32,", ", dim: 48,"))
    said = refused(lease, back, "--lease", other)
    assert (
        "of another configuration than was packed: model differs" in said
        and "'dim': 32" in said
        and "'dim': 48" in said
    )
    listed = json.loads((other / "base" / "pack.json").read_text())
    (other / "base" / "pack.json").write_text(json.dumps(listed | {"id": "0123456789ab"}))
    assert f"is of pack {listed['id']}, {other} is pack 0123456789ab" in refused(lease, back, "--lease", other)


SEND = f"""
import sys
sys.path.insert(0, {str(LOCAL)!r})
from pathlib import Path
from lean import send
print(send(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], 100_000), flush=True)
"""


def test_weights_that_are_no_numbers_or_of_another_pair_are_refused(
    lease: Rehearsal, back: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    whole = next(back.glob("state-*"))
    notes = json.loads((whole / "state.json").read_text())
    content = b"".join(path.read_bytes() for path in sorted(whole.glob("part-*")))
    for file in notes["files"]:
        (state / file["name"]).write_bytes(content[: file["bytes"]])
        content = content[file["bytes"] :]
    discriminators = state / "discriminators.safetensors"
    tensors = load_file(discriminators)
    owner = {"model_sha256": hashlib.sha256((state / "model.safetensors").read_bytes()).hexdigest()}
    name = min(tensors)
    for change, wrong, message in (
        ("numbers", tensors[name] * np.float16(np.nan), "hold numbers that are not finite"),
        ("shape", tensors[name][..., None], "weights do not fit this configuration"),
    ):
        save_file({**tensors, name: np.ascontiguousarray(wrong)}, discriminators, owner)
        run([sys.executable, "-c", SEND, state, tmp_path / change, notes["pack"]], tmp_path)
        assert message in refused(lease, tmp_path / change)
    save_file(tensors, discriminators, {"model_sha256": "of another"})
    assert run([sys.executable, "-c", SEND, state, tmp_path / "none", notes["pack"]], tmp_path).stdout == "None\n"


KILLED = f"""
import json, os, signal, struct, sys
sys.path.insert(0, {str(LOCAL)!r})
from pathlib import Path
from lean import send

CHANGES = "open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"

def write(state, step):
    header = json.dumps({{"__metadata__": {{"notes": json.dumps({{"step": step}})}}}}).encode()
    state.write_bytes(struct.pack("<Q", len(header)) + header + os.urandom(500_000))

def kill_before(change):
    seen = 0
    def look(event, arguments):
        nonlocal seen
        if event in CHANGES:
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(look)

folder, change, status = Path(sys.argv[1]), 0, -1
while status and change < 100:
    change += 1
    state, out = folder / "state", folder / f"out-{{change:03d}}"
    state.mkdir(exist_ok=True)
    out.mkdir()
    write(state / "model.safetensors", 1)
    send(state, out, "pack", 100_000)
    write(state / "model.safetensors", 2)
    child = os.fork()
    if not child:
        kill_before(change)
        send(state, out, "pack", 100_000)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
"""


def test_whenever_it_is_killed_a_whole_state_is_there(tmp_path: Path) -> None:
    """Before every change of the disk that sending a second state makes; the parts are put together without the code under test."""
    run([sys.executable, "-c", KILLED, tmp_path], tmp_path)
    steps = []
    for out in sorted(tmp_path.glob("out-*")):
        newest = max(out.glob("state-*"))
        notes = json.loads((newest / "state.json").read_text())
        model = b"".join((newest / part["name"]).read_bytes() for part in notes["parts"])
        assert hashlib.sha256(model).hexdigest() == notes["files"][0]["sha256"]
        steps.append(notes["step"])
        shallow = [path for path in out.rglob("*") if path.is_file() and len(path.relative_to(out).parts) <= 3]
        assert len(shallow) <= (7 if max(out.glob("state-*")) == min(out.glob("state-*")) else 14)
        assert max(path.stat().st_size for path in shallow) <= 100_000
    assert 15 < len(steps) < 100 and steps == sorted(steps) and set(steps) == {1, 2}
    assert [path.name for path in out.iterdir()] == ["state-00000002"]


@pytest.mark.parametrize("name", ["../beside", "/tmp/beside-{id}", "link"])
def test_a_tar_leaves_nothing_outside_its_folder(name: str, tmp_path: Path) -> None:
    """Neither by its names nor by a link; the file before is there, so that it is this member that is refused."""
    name = name.format(id=tmp_path.name)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for member in (tarfile.TarInfo("folder/first"), tarfile.TarInfo(name)):
            if member.name == "link":
                member.type, member.linkname = tarfile.SYMTYPE, "../beside"
            tar.addfile(member)
    work = "extract(tarfile.open('a.tar'), Path('into'))"
    code = f"import sys, tarfile; sys.path.insert(0, {str(LOCAL)!r}); from common import exit_status, extract; from pathlib import Path"
    done = run([sys.executable, "-c", f"{code}; sys.exit(exit_status(lambda: {work}))"], tmp_path, status=1)
    assert done.stderr == f"-c: {name}: no file or folder inside into\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "into"]
    assert [path.name for path in (tmp_path / "into").rglob("*") if not path.is_dir()] == ["first"]
