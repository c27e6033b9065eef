"""The recipes as a user runs them: options, jobs, stages, what a killed or repeated stage leaves behind."""

from __future__ import annotations

import json
import re
import shutil
import textwrap
from pathlib import Path

import pytest
from support.workspace import CHECKOUT, copy_of, fingerprint, run

from audiocodec.config.load import load_config
from audiocodec.evaluation.rows import Row
from audiocodec.evaluation.summary import summarize

pytestmark = pytest.mark.recipe

STUDIES = ("collapse", "lm")  # no corpora of their own: test_collapse_recipe.py, test_lm_recipe.py
CORPORA = sorted(path.name for path in (CHECKOUT / "egs").iterdir() if path.is_dir() and path.name not in STUDIES)
AUDIO = CHECKOUT / "egs" / "mini" / "codec" / "local" / "audio"
CONFIGS = sorted((CHECKOUT / "audiocodec" / "configs").glob("*.yaml"))


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A script with three options, which prints them and what follows."""
    path = tmp_path / "job.sh"
    path.write_text(
        textwrap.dedent(f"""\
        #!/usr/bin/env bash
        set -euo pipefail
        nj=4  # parallel jobs
        stop_stage=6
        force=false  # overwrite
        SECRET=1
          indented=1
        . {CHECKOUT}/recipes/utils/parse_options.sh
        later=1
        printf '%s|' "$nj" "$stop_stage" "$force" "$SECRET" "$later" "$@"
        """)
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        ([], "4|6|false|1|1|"),
        (["--nj", "8", "--stop-stage", "2"], "8|2|false|1|1|"),
        (["--stop_stage=3", "--force", "true"], "4|3|true|1|1|"),
        (["--nj", "", "a b", "--nj"], "|6|false|1|1|a b|--nj|"),
        (["--nj=a=b c", "--", "--nj"], "a=b c|6|false|1|1|--nj|"),
    ],
)
def test_options(script: Path, arguments: list[str], printed: str) -> None:
    assert run(["bash", script, *arguments], script.parent).stdout == printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--njj", "8"], "job.sh: unknown option --njj; there are: --nj --stop-stage --force\n"),
        (["--SECRET", "8"], "job.sh: unknown option --SECRET; "),
        (["--later", "8"], "job.sh: unknown option --later; "),
        (["--indented", "8"], "job.sh: unknown option --indented; "),
        (["--PATH", "8"], "job.sh: unknown option --PATH; "),
        (["-n", "8"], "job.sh: unknown option -n; options begin with --"),
        (["--nj"], "job.sh: option --nj needs a value"),
        (["--force", "yes"], "job.sh: option --force is true or false, got 'yes'"),
    ],
)
def test_bad_options_are_fatal(script: Path, arguments: list[str], message: str) -> None:
    done = run(["bash", script, *arguments], script.parent, status=2)
    assert done.stderr.startswith(message)
    assert done.stdout == ""


def test_the_environment_sets_no_option(script: Path) -> None:
    assert run(["bash", script], script.parent, env={"nj": "9", "later": "9"}).stdout == "4|6|false|1|1|"


def test_help_of_options(script: Path) -> None:
    help_text = run(["bash", script, "--help"], script.parent).stdout
    assert re.findall(r"^  --(\S+) +(.*)$", help_text, re.MULTILINE) == [
        ("nj", "parallel jobs [4]"),
        ("stop-stage", "[6]"),
        ("force", "overwrite [false]"),
    ]


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("corpus", CORPORA)
def test_every_run_script_starts(corpus: str, shell: str) -> None:
    folder = CHECKOUT / "egs" / corpus / "codec"
    help_text = run([shell, "run.sh", "--help"], folder).stdout
    assert "--stop-stage" in help_text and "--train-options" in help_text
    assert run([shell, (folder / "run.sh").relative_to(CHECKOUT), "--help"], CHECKOUT).stdout == help_text
    unknown = run([shell, folder / "run.sh", "--stop-stag", "1"], CHECKOUT, status=2)
    assert "unknown option --stop-stag;" in unknown.stderr
    assert "--stop-stage are 0 to 7" in run([shell, "run.sh", "--stage", "8"], folder, status=2).stderr
    for options, message in (
        (["--stage", "5", "--stop-stage", "3"], "--stage 5 comes after --stop-stage 3"),
        (["--num-processes", "abc"], "--num-processes is a number from 1 on, got 'abc'"),
        (["--num-gpus", "-1"], "--num-gpus is a number, got '-1'"),
        (["--num-codebooks", "0"], "--num-codebooks is a number from 1 on, got '0'"),
        (["--test-sets", " "], "--test-sets is empty"),
        (["--stage", "7"], "--stage 7 pushes the model to a hub: say --repository org/name"),
    ):
        assert message in run([shell, "run.sh", *options], folder, status=2).stderr
    assert "unexpected argument: x" in run([shell, "run.sh", "x"], folder, status=2).stderr


def test_local_job(tmp_path: Path) -> None:
    job = CHECKOUT / "recipes" / "utils" / "run.sh"
    command = "echo data; echo message >&2; exit 7"
    both = run([job, "--log", tmp_path / "a" / "both.log", "sh", "-c", command], tmp_path, status=7)
    assert both.stdout == ""
    log = (tmp_path / "a" / "both.log").read_text()
    assert re.fullmatch(r"# .*\ndata\nmessage\n# exit status 7 after \d+ s\n", log)
    assert log in both.stderr
    run([job, "--log", tmp_path / "l", "--out", tmp_path / "o", "sh", "-c", command], tmp_path, status=7)
    assert (tmp_path / "o").read_text() == "data\n"
    assert "data" not in [line for line in (tmp_path / "l").read_text().splitlines()]
    run([job, "--log", tmp_path / "l", "--out", tmp_path / "o", "echo", "more data"], tmp_path)
    assert (tmp_path / "o").read_text() == "data\nmore data\n"


def test_slurm_job(tmp_path: Path) -> None:
    """Against a stand-in for sbatch that notes its arguments and runs the wrapped command."""
    stand_in = tmp_path / "bin" / "sbatch"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/bash\nprintf "%s\\n" "$@" >"$NOTED"\nexec bash -c "${@: -1}"\n')
    stand_in.chmod(0o755)
    job, noted = CHECKOUT / "recipes" / "utils" / "slurm.sh", tmp_path / "noted"
    env = {"PATH": f"{stand_in.parent}:/usr/bin:/bin", "NOTED": str(noted)}
    run([job, "--gpus", "2", "--log", "x.log", "sh", "-c", 'echo "a  b" >made; exit 3'], tmp_path, 3, env)
    assert (tmp_path / "made").read_text() == "a  b\n"
    words = noted.read_text().split("\n")
    asked = "--wait|--job-name|x|--output|x.log|--error|x.log|--open-mode|append|--gpus|2"
    assert "|".join(words[:-3]) == asked
    run([job, "--array", "0-63%8", "--log", "x.%a.log", "true"], tmp_path, 0, env)
    assert "--error|x.%a.log|--open-mode|append|--array|0-63%8|" in noted.read_text().replace("\n", "|")
    missing = run([job, "--log", "x.log", "true"], tmp_path, 2, {"PATH": "/usr/bin:/bin"})
    assert "no sbatch here" in missing.stderr


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_configurations_are_sound_and_say_their_bitrate(config: Path) -> None:
    loaded = load_config(config)
    assert loaded.name == config.stem
    said = re.search(r"at ([\d.]+) kbps", config.read_text().splitlines()[0])
    assert said is not None and float(said[1]) == pytest.approx(loaded.bitrate_bps / 1000)


MAKE_FOLDER = """
set -euo pipefail
. {recipes}/codec.sh
JOB_CMD={recipes}/utils/run.sh EXP=.
make_folder 4 out/set source -- {command}
"""


def _make_folder(folder: Path, command: str, status: int) -> str:
    text = MAKE_FOLDER.format(recipes=CHECKOUT / "recipes", command=command)
    return run(["bash", "-c", text], folder, status).stderr


def test_a_stage_renames_what_it_finished(tmp_path: Path) -> None:
    make = """sh -c 'mkdir -p "$0"; echo 1 >>"$0"/file'"""
    (tmp_path / "source").write_text("1")
    _make_folder(tmp_path, make, 0)
    assert (tmp_path / "out" / "set" / "file").read_text() == "1\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set"]
    before = fingerprint(tmp_path / "out")
    assert "out/set: is finished" in _make_folder(tmp_path, make, 0)
    assert fingerprint(tmp_path / "out") == before


def test_a_stage_with_another_command_is_made_again(tmp_path: Path) -> None:
    make = """sh -c 'mkdir -p "$0"; echo {} >>"$0"/file; {}'"""
    (tmp_path / "source").write_text("1")
    _make_folder(tmp_path, make.format(1, "true"), 0)
    assert "made by another command" in _make_folder(tmp_path, make.format(2, "exit 1"), 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set.tmp"]
    _make_folder(tmp_path, make.format(3, "true"), 0)  # nothing of the unfinished one is left in it
    assert (tmp_path / "out" / "set" / "file").read_text() == "3\n"


RESULTS_COMMAND = """
set -euo pipefail
. {recipes}/codec.sh
EXP=exp
for stage in 2 3 4 5; do
    case $stage in {given} *) GIVEN_OPTIONS=() ;; esac
    record_options $stage
done
GIVEN_OPTIONS=(--not-recorded 1)
results_command
"""


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        ("", ["./run.sh"]),
        ("2 | 3 | 4 | 5) GIVEN_OPTIONS=(--name x) ;;", ["./run.sh --name x"]),
        (
            "4) GIVEN_OPTIONS=() ;; 2 | 3) GIVEN_OPTIONS=(--name x) ;;",
            ["./run.sh --stage 0 --stop-stage 3 --name x", "./run.sh --stage 4"],
        ),
        (
            "5) GIVEN_OPTIONS=(--metrics mel) ;; 2) GIVEN_OPTIONS=(--num-gpus 1) ;;",
            [
                "./run.sh --stage 0 --stop-stage 2 --num-gpus 1",
                "./run.sh --stage 3 --stop-stage 4",
                "./run.sh --stage 5 --metrics mel",
            ],
        ),
    ],
)
def test_the_results_page_opens_with_the_commands_that_were_run(given: str, lines: list[str], tmp_path: Path) -> None:
    text = RESULTS_COMMAND.format(recipes=CHECKOUT / "recipes", given=given)
    assert run(["bash", "-c", text], tmp_path).stdout.splitlines() == lines


def test_a_failed_stage_leaves_only_tmp_and_goes_on_from_it(tmp_path: Path) -> None:
    make = """sh -c 'mkdir -p "$0"; echo 1 >>"$0"/file; exit "$(cat status)"'"""
    (tmp_path / "source").write_text("1")
    (tmp_path / "status").write_text("3")
    _make_folder(tmp_path, make, 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set.tmp"]
    (tmp_path / "status").write_text("0")
    _make_folder(tmp_path, make, 0)
    assert (tmp_path / "out" / "set" / "file").read_text() == "1\n1\n"


def test_what_a_killed_run_had_begun_is_not_moved_into_a_finished_folder(tmp_path: Path) -> None:
    make = """sh -c 'mkdir -p "$0"/sub; touch "$0"/file "$0"/sub/.a.act.0000-1-01234567.tmp'"""
    (tmp_path / "source").write_text("1")
    _make_folder(tmp_path, make, 0)
    assert sorted(path.name for path in (tmp_path / "out" / "set").rglob("*")) == ["file", "sub"]


def test_a_stage_that_writes_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("1")
    assert "the command wrote nothing" in _make_folder(tmp_path, "true", 1)
    assert not (tmp_path / "out" / "set").exists()


def test_a_stage_whose_source_changed_is_made_again(tmp_path: Path) -> None:
    make = """sh -c 'mkdir -p "$0"; echo {} >>"$0"/file'"""
    assert "source is missing; run the stage before" in _make_folder(tmp_path, "true", 1)
    (tmp_path / "source").write_text("1")
    _make_folder(tmp_path, make.format(1), 0)
    (tmp_path / "source").write_text("2")
    assert "older than source" in _make_folder(tmp_path, make.format(2), 0)
    assert (tmp_path / "out" / "set" / "file").read_text() == "2\n"


@pytest.mark.parametrize("corpus", [*CORPORA, "collapse"])
def test_cdpath_leads_nowhere(corpus: str, tmp_path: Path) -> None:
    root = copy_of(tmp_path / "checkout", "recipes", "egs", "audiocodec/configs")
    decoy = tmp_path / "decoy" / "egs" / corpus / "codec"
    decoy.mkdir(parents=True)
    (decoy / "path.sh").write_text("echo another path.sh >&2; exit 99\n")
    done = run(["bash", f"egs/{corpus}/codec/run.sh", "--help"], root, env={"CDPATH": f"{tmp_path}/decoy"})
    assert done.stdout.startswith("usage: run.sh ") and done.stderr == ""


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (3, "exp/mini holds no checkpoint; run stage 2"),
        (4, "exp/mini/tokens/test is missing; run the stage before"),
        (5, "exp/mini/wav/test is missing; run the stage before"),
        (6, "exp/mini/eval/test is missing; run the stage before"),
    ],
)
def test_a_stage_without_an_experiment_says_so(stage: int, message: str, tmp_path: Path) -> None:
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    done = run(["./run.sh", "--stage", str(stage), "--stop-stage", str(stage)], root / "egs" / "mini" / "codec", 1)
    assert done.stderr.endswith(f"run.sh: {message}\n")


def test_data_stage_of_a_folder(tmp_path: Path) -> None:
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    recipe, audio = root / "egs" / "folder" / "codec", tmp_path / "my audio"
    shutil.copytree(root / "egs" / "mini" / "codec" / "local" / "audio", audio)
    stages = ["./run.sh", "--stage", "0", "--stop-stage", "1"]
    assert "say where the audio is: run.sh --audio DIR" in run(stages, recipe, 2).stderr
    stages += ["--audio", str(audio), "--speaker-level", "1", "--test-share", "0.28"]
    run(stages, recipe)
    sets = {path.name: len((path / "wav.scp").read_text().splitlines()) for path in (recipe / "data").iterdir()}
    assert sets["all"] == 12 and sets["train"] + sets["dev"] + sets["test"] == 12
    before = fingerprint(recipe / "data")
    run(stages, recipe)
    assert fingerprint(recipe / "data") == before

    (audio / "it-flora" / "broken.wav").write_bytes(b"RIFF")  # named, and nothing is changed
    done = run(stages, recipe, status=1)
    assert "broken.wav" in done.stderr
    assert fingerprint(recipe / "data") == before
    run([*stages, "--skip-bad", "true"], recipe)
    assert fingerprint(recipe / "data") == before
    assert sorted(path.name for path in recipe.iterdir() if "data" in path.name) == ["data"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_folder_of_audio_is_trained_on_and_scored(tmp_path: Path) -> None:
    """The README's way to a codec of one's own, cut short."""
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    audio = root / "egs" / "mini" / "codec" / "local" / "audio"
    steps = "--set train.steps=6 --set train.warmup_autoencoder_steps=3 --set train.batch_size=2"
    options = ["--audio", str(audio), "--config", "mini", "--train-options", steps, "--test-share", "0.28"]
    done = run([root / "egs/folder/codec/run.sh", *options, "--metrics", "mel"], tmp_path)
    page = (root / "egs/folder/codec/exp/mini/RESULTS.md").read_text()
    assert page in done.stdout
    assert page.startswith("# Results\n\n```\n./run.sh --audio ") and "mel distance" in page


def test_data_stage_refuses_a_bad_folder(tmp_path: Path) -> None:
    """What local/data.sh makes is validated before it is used: here one that gives wrong lengths."""
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    recipe = root / "egs" / "mini" / "codec"
    script = recipe / "local" / "data.sh"
    script.write_text(script.read_text() + "sed -i 's/$/1/' \"$1/dev/utt2num_samples\"\n")
    done = run(["./run.sh", "--stage", "1", "--stop-stage", "1"], recipe, status=1)
    assert "utt2num_samples says" in done.stderr
    assert not (recipe / "data").exists()


def test_each_test_set_gets_a_page_with_its_own_utterances(tmp_path: Path) -> None:
    exp = tmp_path / "exp" / "small"
    for test_set, name in (("dev", "it-flora/vm-forward"), ("far/test", "ru-nsh/ru_0003")):
        clip = shutil.copy(AUDIO / f"{name}.flac", tmp_path)
        row = Row(name, 1.0, {"stoi": 0.5}, reference=str(AUDIO / f"{name}.flac"), estimate=clip)
        folder = exp / "eval" / test_set
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text(row.to_json() + "\n")
        (folder / "summary.json").write_text(summarize([row], ["stoi"]).to_text())
    text = f"set -euo pipefail; . {CHECKOUT}/recipes/codec.sh; EXP=exp/small name=small test_sets='dev far/test'"
    run(["bash", "-c", f"{text}; GIVEN_OPTIONS=(); stage_6"], tmp_path)
    pages = {path.name: path.read_text() for path in exp.glob("*.html")}
    assert sorted(pages) == ["report_dev.html", "report_far-test.html"]
    for page, own, other in (("dev", "vm-forward", "ru_0003"), ("far-test", "ru_0003", "vm-forward")):
        players = re.findall(r"<article.*?</article>", pages[f"report_{page}.html"], re.DOTALL)
        assert len(players) == 1 and own in players[0] and other not in players[0]
    assert "small/dev" in (exp / "RESULTS.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_mini_runs_all_stages(tmp_path: Path) -> None:
    root = copy_of(tmp_path, "recipes", "egs", "audiocodec/configs")
    recipe = root / "egs" / "mini" / "codec"
    done = run(["sh", "run.sh"], recipe)
    exp = recipe / "exp" / "mini"
    summary = json.loads((exp / "eval" / "test" / "summary.json").read_text())
    assert summary["n_rows"] == 2 and summary["n_rows_with_failures"] == 0
    assert set(summary["measures"]) >= {"stoi", "mel_distance", "kbps_payload", "encode_rtf", "decode_rtf"}
    rows = [json.loads(line) for line in (exp / "eval" / "test" / "rows.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["ru-ivrvoice-agent-user", "ru-nsh-ru_0003"]
    listed = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in (exp / "wav/test.scp").read_text().splitlines()}
    assert listed == {row["id"]: row["estimate"] for row in rows} and all(
        (recipe / p).is_file() for p in listed.values()
    )
    assert all(row["kbps_payload"] == pytest.approx(0.6, rel=0.02) for row in rows)  # the last frame is not full
    page = (exp / "RESULTS.md").read_text()
    assert page.startswith("# Results\n\n```\n./run.sh\n```\n")
    assert page in done.stdout
    assert "ru-nsh-ru_0003" in (exp / "report_test.html").read_text()
    assert list((exp / "tensorboard").iterdir()) and (exp / "config.yaml").is_file()
    assert [str(path) for path in recipe.rglob("*.tmp")] == []

    kept = ["data", "exp/mini/checkpoints", "exp/mini/tokens", "exp/mini/wav", "exp/mini/eval"]
    before = [fingerprint(recipe / folder) for folder in kept]
    run(["sh", "run.sh"], recipe)
    assert [fingerprint(recipe / folder) for folder in kept] == before
    assert (exp / "RESULTS.md").read_text() == page

    run(["sh", "run.sh", "--stage", "3", "--metrics", "mel"], recipe)  # other scores of the same reconstructions
    assert [fingerprint(recipe / folder) for folder in kept[:-1]] == before[:-1]
    page = (exp / "RESULTS.md").read_text()
    assert page.startswith(
        "# Results\n\n```\n./run.sh --stage 0 --stop-stage 4\n./run.sh --stage 5 --metrics mel\n```\n"
    )
    assert "mel distance" in page and "STOI" not in page
