"""Engines of `audiocodec tokenize`: the same bytes from all of them, whatever is killed in between."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support import corpora

from audiocodec.cli.main import main
from audiocodec.errors import CorpusError
from audiocodec.tokenize import worker
from audiocodec.tokenize.engines import array, scheduling
from audiocodec.tokenize.engines.scheduling import Died, Event, Pool, Ready, Stopped
from audiocodec.tokenize.worker import Done

pytest.importorskip("pyarrow")

SHARDS = 10
KILLS = int(os.environ.get("AUDIOCODEC_KILLS", "6"))  # 30 were survived; more take minutes


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty files; two are bad."""
    names = {f"s{n % 3}/{n:02d}": (16_000, 1, 4_000 + 500 * n, "flac") for n in range(30)}
    root = corpora.write_corpus(tmp_path_factory.mktemp("corpus") / "audio", names)
    for name in ("s0/03", "s1/22"):
        (root / f"{name}.flac").write_bytes(b"no audio")
    return root


@pytest.fixture(scope="module")
def words(audio: Path, tiny_model_path: Path) -> list[str]:
    """Everything but the output: ten shards of three files."""
    seconds = 3600 * 3 / 1000
    return ["tokenize", str(audio), "-m", str(tiny_model_path), "--shard-seconds", str(seconds), "--quiet"]


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> hash of every file that one job leaves."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert main([*words, "-d", str(out)]) == 1
    found = hashes(out)
    assert sum(name.startswith("tokens-") for name in found) == SHARDS
    assert set(found) - {name for name in found if name.startswith("tokens-")} == {
        *("README.md", "failures.parquet", "inputs.jsonl", "plan.json")
    }
    return found


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def start(words: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "audiocodec.cli.main", *words]
    return subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE)


def test_two_jobs(words: list[str], undisturbed: dict[str, str], tmp_path: Path) -> None:
    assert main([*words, "-d", str(tmp_path / "out"), "--jobs", "2"]) == 1
    assert hashes(tmp_path / "out") == undisturbed


@pytest.mark.parametrize("tasks", [SHARDS, 3])
def test_slurm_array(
    words: list[str], undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MAX", str(tasks))
    for task in range(tasks, 0, -1):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(task))
        main([*words, "-d", str(out), "--engine", "slurm"])
    assert hashes(out) == undisturbed


def test_single_shards_and_ranks(
    words: list[str], undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out = tmp_path / "out"
    assert main([*words, "-d", str(out), "--plan-only"]) == 0
    assert capsys.readouterr().out == f"{SHARDS}\n"
    assert main([*words, "-d", str(out), "--shard", "4"]) == 0
    assert {name for name in hashes(out) if name.startswith("tokens-")} == {"tokens-00004.parquet"}
    assert main([*words, "-d", str(out), "--shard", "10"]) == 2
    assert "the plan has shards 0 to 9" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        main([*words, "-d", str(out), "--engine", "torchrun"])
    assert hashes(out) == undisturbed


def test_a_task_does_not_list_the_source_again(words: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    out = str(tmp_path / "out")
    assert main([*words, "-d", out, "--plan-only"]) == 0
    monkeypatch.setattr("audiocodec.cli.verbs.tokenize.source_of", never)
    assert main([*words, "-d", out, "--shard", "4"]) == 0
    assert main([*words, "-d", out, "--shard", "5", "--licence", "other"]) == 2
    assert "licence was" in capsys.readouterr().err


def test_webdataset_twice(words: list[str], tmp_path: Path) -> None:
    for out in ("a", "b"):
        assert main([*words, "-d", str(tmp_path / out), "--format", "webdataset"]) == 1
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")


def test_a_device_that_is_not_there(words: list[str], tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*words, "-d", str(tmp_path / "out"), "--device", "cuda", "--shard", "0"]) == 2
    assert "--device cuda: no CUDA device is available" in capsys.readouterr().err
    assert main([*words, "-d", str(tmp_path / "out"), "--device", "gpu"]) == 2
    assert "'gpu' is not auto, cpu, cuda or cuda:N" in capsys.readouterr().err


def test_shares() -> None:
    environment = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_MAX": "18"}
    assert array.slurm_share(environment | {"SLURM_ARRAY_TASK_STEP": "4"}) == (1, 3)
    assert array.rank_share({"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == (3, 8, 1)
    with pytest.raises(CorpusError, match="sbatch --array"):
        array.slurm_share({})
    with pytest.raises(CorpusError, match="start with torchrun"):
        array.rank_share({"RANK": "0"})


def children(driver: int) -> list[int]:
    tasks = Path(f"/proc/{driver}/task/{driver}/children")
    return [int(word) for word in tasks.read_text().split()] if tasks.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills(words: list[str], undisturbed: dict[str, str], tmp_path: Path) -> None:
    """Workers and drivers are killed thirty times, at any moment; what is left in the end is what one quiet run leaves."""
    out, chance = tmp_path / "out", random.Random(1)
    driver, kills = None, 0
    while kills < KILLS:
        if driver is None or driver.poll() is not None:
            if driver is not None:
                driver.communicate()
            for path in chance.sample(sorted(out.glob("tokens-*")), min(3, len(list(out.glob("tokens-*"))))):
                path.unlink()  # else it would soon be finished
            driver = start([*words, "-d", str(out), "--jobs", "2"])
        time.sleep(chance.uniform(0.2, 4))
        victims = [driver.pid] if chance.random() < 0.3 else children(driver.pid)
        if victims and driver.poll() is None:
            os.kill(chance.choice(victims), signal.SIGKILL)
            kills += 1
    driver.communicate(timeout=300)
    assert main([*words, "-d", str(out), "--jobs", "2"]) == 1
    assert hashes(out) == undisturbed


def test_terminated_driver_leaves_no_process(words: list[str], tmp_path: Path) -> None:
    driver = start([*words, "-d", str(tmp_path / "out"), "--jobs", "2"])
    deadline = time.monotonic() + 60
    while len(found := children(driver.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    driver.terminate()
    driver.communicate(timeout=60)
    assert driver.returncode == 143
    deadline = time.monotonic() + 30  # multiprocessing's own helper ends after the driver
    while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(found) >= 2 and not any(Path(f"/proc/{pid}").exists() for pid in found)


class FakePool(Pool):
    """A pool whose workers do what a script says for each shard, one entry for each attempt."""

    def __init__(self, script: dict[int, list[Event]]) -> None:
        self.script, self.events, self.started, self.closed = script, list[tuple[int, Event]](), 0, False

    def start(self) -> None:
        self.events.append((self.started, Ready()))
        self.started += 1

    def submit(self, worker: int, shard: int) -> None:
        self.events.append((worker, self.script.get(shard, [Done(shard, 1, 0, 1.0)]).pop(0)))

    def wait(self) -> tuple[int, Event]:
        return self.events.pop(0)

    def close(self) -> None:
        self.closed = True


def test_a_shard_that_kills_three_workers_is_given_up() -> None:
    died = Died("killed by signal 9")
    pool, done = FakePool({1: [died, died, died], 2: [died, Done(2, 1, 0, 1.0)]}), list[Done]()
    lost = scheduling.run(pool, [0, 1, 2, 3], 2, done.append)
    assert [(one.shard, one.cause) for one in lost] == [(1, "killed by signal 9")]
    assert sorted(one.shard for one in done) == [0, 2, 3]
    assert pool.closed


class Full(FakePool):
    """There is room for the first two workers only."""

    def start(self) -> None:
        if self.started < 2:
            super().start()


def test_an_idle_worker_takes_over_where_there_is_no_room_for_another() -> None:
    pool, done = Full({0: [Died("node lost"), Done(0, 1, 0, 1.0)]}), list[Done]()
    pool.script[1] = [Done(1, 1, 0, 1.0)]
    submit = pool.submit

    def later(worker: int, shard: int) -> None:  # shard 0 dies when shard 1 is done
        submit(worker, shard)
        pool.events.sort(key=lambda item: isinstance(item[1], Died))

    pool.submit = later
    assert scheduling.run(pool, [0, 1], 2, done.append) == []
    assert sorted(one.shard for one in done) == [0, 1]


def test_a_full_disk_stops_all() -> None:
    pool = FakePool({0: [Stopped("No space left on device")]})
    with pytest.raises(CorpusError, match="No space left on device; the same command resumes"):
        scheduling.run(pool, [0, 1], 1, lambda done: None)
    assert pool.closed


class NeverReady(FakePool):
    def start(self) -> None:
        self.events.append((0, Died("out of memory")))


def test_workers_that_never_get_ready() -> None:
    with pytest.raises(CorpusError, match="3 workers in a row died before they were ready: out of memory"):
        scheduling.run(NeverReady({}), [0, 1], 2, lambda done: None)


def test_disk_full_in_the_middle(
    words: list[str], undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out, sync = tmp_path / "out", worker._sync

    def full(path: Path) -> None:
        if "tokens-00003" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(worker, "_sync", full)
    assert main([*words, "-d", str(out), "--engine", "torchrun"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(name for name in hashes(out) if "tokens" in name) == [f"tokens-0000{n}.parquet" for n in range(3)]
    monkeypatch.setattr(worker, "_sync", sync)
    assert main([*words, "-d", str(out), "--engine", "torchrun"]) == 1
    assert hashes(out) == undisturbed


def test_failures_can_be_tried_again(tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = corpora.write_corpus(tmp_path / "in", {"a": (16_000, 1, 4_000, "wav"), "b": (16_000, 1, 4_000, "wav")})
    (tmp_path / "m.jsonl").write_text('{"audio_filepath": "in/a.wav"}\n{"audio_filepath": "in/late.wav"}\n')
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    words = ["tokenize", str(tmp_path / "m.jsonl"), "-m", str(tiny_model_path), "-d", str(tmp_path / "out")]
    words += ["--engine", "torchrun", "--quiet"]
    assert main(words) == 1
    (root / "b.wav").rename(root / "late.wav")
    assert main(words) == 1  # finished is finished
    assert main([*words, "--retry-failures"]) == 0
    assert not (tmp_path / "out/failures.parquet").exists()


@pytest.fixture
def cluster() -> Iterator[object]:
    pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_ray_with_a_node_lost_and_an_actor_killed(
    words: list[str], undisturbed: dict[str, str], tmp_path: Path, cluster
) -> None:
    out = tmp_path / "out"
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(2)]
    cluster.wait_for_nodes()
    driver = start([*words, "-d", str(out), "--engine", "ray", "--address", cluster.address, "--jobs", "2"])

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 200
        while len(list(out.glob("tokens-*"))) < count and time.monotonic() < deadline and driver.poll() is None:
            time.sleep(0.05)

    wait_for(1)
    for actor in actors()[:1]:
        os.kill(actor, signal.SIGKILL)
    wait_for(3)
    cluster.remove_node(nodes[1], allow_graceful=False)
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    _, said = driver.communicate(timeout=300)
    assert driver.returncode == 1, said.decode()  # two files are bad
    assert hashes(out) == undisturbed


def actors() -> list[int]:
    """Processes of our actors, which ray names after their class."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_Actor"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
