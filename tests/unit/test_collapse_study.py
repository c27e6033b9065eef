"""The collapse study's driver: which rows, what is done again, and the tables. Expected text is written by hand."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from audiocodec.config.schema import QuantizerConfig

RECIPE = Path(__file__).parents[2] / "egs" / "collapse" / "codec"
sys.path.insert(0, str(RECIPE / "local"))

from collapse.outcomes import Outcome
from collapse.rows import Row, Run, StudyError, choose, read_rows
from collapse.tables import page, table_1, table_2, table_3, table_4, table_5
from collapse.training import Data, Trainer, finished

from audiocodec.evaluation.summary_file import CodebookSummary, MeasureSummary

VQ = Row("vq", "VQ", (1, 2), (1024, 8192), ("quantizer.kind=vq",))
FSQ = Row("fsq", "FSQ", (1, 2), (1024, 8192, 65536, 262144), ("quantizer.kind=fsq",))
SIMVQ = Row("simvq", "SimVQ", (1, 2, 3), (1024, 8192), ("quantizer.kind=simvq",))
BOTH = Row("both", "both trained", (3,), (1024,), ("quantizer.kind=simvq", "quantizer.train_codebook=true"))
RESIDUAL = Row("residual", "residual SimVQ", (1,), (1024,), ("quantizer.num_codebooks=2",))


def _measures(pesq: float | None, stoi: float, mel: float, failed: int = 0) -> dict[str, MeasureSummary]:
    values = {"pesq": (pesq, failed), "stoi": (stoi, 0), "mel_distance": (mel, 0)}
    return {name: MeasureSummary(mean, None, None, 5 - n, n) for name, (mean, n) in values.items()}


def _use(*figures: tuple[float, float]) -> list[CodebookSummary]:
    return [CodebookSummary(1024, 4096, usage, perplexity, 5.0, 0) for usage, perplexity in figures]


def _probe(changed: list[float], bits: list[list[float]] | None = None) -> dict[str, Any]:
    known = {"predictability": {"ngram": bits, "transformer": [float(len(bits))] * len(bits)}} if bits else {}
    return {"stability": [{"name": "shift 0.25 hop", "changed": changed, "frames": 10}], **known}


def _outcomes() -> list[Outcome]:
    def quantizer(**keys: Any) -> QuantizerConfig:
        return QuantizerConfig(codebook_dim=32, **keys)

    vq, simvq = quantizer(kind="vq", codebook_size=1024), quantizer(codebook_size=1024)
    fsq = quantizer(kind="fsq", codebook_size=8000)
    both = quantizer(codebook_size=1024, train_codebook=True, distribution="uniform")
    two = quantizer(codebook_size=1024, num_codebooks=2)
    return [
        Outcome(Run(VQ, 1024), vq, _measures(1.2345, 0.5, 9.876), _use((0.0625, 12.4)), [2.34], probe=_probe([0.125])),
        Outcome(Run(VQ, 8192), reason="8192 | too many"),
        Outcome(Run(FSQ, 8192), fsq, _measures(None, 0.7, 7.0, 5), _use((0.25, 1500.0)), [4.0], probe=_probe([0.25])),
        Outcome(
            Run(SIMVQ, 1024), simvq, _measures(2.0, 0.75, 5.0, 2), _use((1.0, 1001.6)), [30.04], probe=_probe([0.5])
        ),
        Outcome(
            Run(RESIDUAL, 1024),
            two,
            _measures(2.5, 0.8, 4.0),
            _use((1.0, 900.0), (0.75, 700.0)),
            [9.0, 11.0],
            probe=_probe([0.5, 1.0], [[8.0, 7.0, 7.5], [9.0, 9.5, 10.0]]),
        ),
        Outcome(Run(BOTH, 1024), both, _measures(1.5, 0.6, 6.0), _use((0.5, 400.0)), [8.0], probe=_probe([0.0])),
    ]


def test_table_1() -> None:
    assert table_1(_outcomes()[:5]) == textwrap.dedent("""\
        | method | latent dimension | codebook size | usage, % | perplexity | effective dimension | PESQ | STOI | mel distance, dB |
        |---|---|---|---|---|---|---|---|---|
        | VQ | 32 | 1,024 | 6.2 | 12 | 2.3 | 1.234 | 0.500 | 9.88 |
        | VQ |  | 8,192 | could not run: 8192 \\| too many |  |  |  |  |  |
        | FSQ | 5 | 8,000 | 25.0 | 1,500 | 4.0 | none, 5 failed | 0.700 | 7.00 |
        | SimVQ | 32 | 1,024 | 100.0 | 1,002 | 30.0 | 2.000, 2 failed | 0.750 | 5.00 |
        | residual SimVQ | 32 | 2 x 1,024 | 100.0 / 75.0 | 900 / 700 | 9.0 / 11.0 | 2.500 | 0.800 | 4.00 |""")


def test_table_2() -> None:
    assert table_2(_outcomes()[:4]) == textwrap.dedent("""\
        | method | 1,024 | 8,192 |
        |---|---|---|
        | VQ | 6.2 %, 9.88 dB | could not run |
        | FSQ |  | 25.0 %, 7.00 dB |
        | SimVQ | 100.0 %, 5.00 dB |  |""")


def test_table_3() -> None:
    failed = Outcome(Run(BOTH, 8192), reason="no memory")
    assert table_3([*_outcomes()[3:6:2], failed]) == textwrap.dedent("""\
        | row | drawn from | codebook | W | codebook size | usage, % | perplexity | effective dimension | PESQ | STOI | mel distance, dB |
        |---|---|---|---|---|---|---|---|---|---|---|
        | SimVQ | Gaussian | frozen | trained | 1,024 | 100.0 | 1,002 | 30.0 | 2.000, 2 failed | 0.750 | 5.00 |
        | both trained | uniform | trained | trained | 1,024 | 50.0 | 400 | 8.0 | 1.500 | 0.600 | 6.00 |
        | both trained |  |  |  | 8,192 | could not run: no memory |  |  |  |  |  |""")


def test_table_4() -> None:
    assert table_4([_outcomes()[0], _outcomes()[4]]) == textwrap.dedent("""\
        | method | codebook size | shift 0.25 hop | bits if unknown | n-gram | transformer |
        |---|---|---|---|---|---|
        | VQ | 1,024 | 12.5 | 10.00 | - | - |
        | residual SimVQ | 2 x 1,024 | 75.0 | 10.00 | 8.00 | 2.00 |""")


def test_table_5() -> None:
    two = QuantizerConfig(codebook_dim=32, codebook_size=1024, num_codebooks=2)
    use, measures = _use((1.0, 900.0), (0.75, 700.0)), _measures(2.5, 0.8, 4.0)
    done = Outcome(Run(RESIDUAL, 1024), two, measures, use, errors=[0.5, 0.2504], different=[0.25, 0.5])
    assert table_5([done, Outcome(Run(SIMVQ, 1024), reason="no")]) == textwrap.dedent("""\
        | row | usage, % | different codes per frame | relative error after each stage | PESQ | STOI | mel distance, dB |
        |---|---|---|---|---|---|---|
        | residual SimVQ | 100.0 / 75.0 | 0.25 / 0.50 | 0.500 / 0.250 | 2.500 | 0.800 | 4.00 |
        | SimVQ | could not run: no |  |  |  |  |  |""")


def test_the_page_opens_with_the_command_and_says_what_was_counted() -> None:
    text = page("./run.sh --profile cpu", ["seed 1"], _outcomes(), ["usage.png"])
    assert text.startswith(
        "# Results\n\n```\n./run.sh --profile cpu\n```\n\n- seed 1\n\n## Table 1: quantizers\n\n| method |"
    )
    assert text.endswith("\n\n![usage against steps](usage.png)\n")
    assert "among the 4,096 frames that were counted, of 8,192 codes 50.0 % at most." in text
    assert "means over 5 utterances" in text
    assert "both trained" not in text.partition("## Table 3")[0]  # a row only in the tables it names


def test_a_page_without_results_has_no_tables() -> None:
    assert page("./run.sh", [], [], []).count("|") == 0


def test_rows_and_sizes_are_chosen_in_the_order_of_the_table() -> None:
    rows = [VQ, FSQ, BOTH]
    assert [run.name for run in choose(rows, "", "")][:3] == ["vq-1024", "vq-8192", "fsq-1024"]
    assert [run.name for run in choose(rows, "both,vq", "")] == ["vq-1024", "vq-8192", "both-1024"]
    assert [run.name for run in choose(rows, "both", "8192,65536")] == ["both-8192", "both-65536"]
    with pytest.raises(StudyError, match="no row 'simvqq'; there are vq, fsq, both"):
        choose(rows, "simvqq", "")
    with pytest.raises(StudyError, match="numbers separated by commas, got '1k'"):
        choose(rows, "", "1k")


def test_fsq_gets_the_sizes_it_has() -> None:
    sizes = [run.settings[-1].partition("=")[2] for run in choose([FSQ], "", "")]
    assert sizes == ["1000", "8000", "64000", "262144"]
    assert Run(VQ, 8192).settings == ["quantizer.kind=vq", "quantizer.codebook_size=8192"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("name label\n", "rows.tsv:1: expected the columns name, label, tables, sizes, overrides"),
        ("name\tlabel\ttables\tsizes\toverrides\nvq\tVQ\n", "rows.tsv:2: got 2 columns, expected 5"),
        ("name\tlabel\ttables\tsizes\toverrides\n" + 2 * "vq\tVQ\t1\t1024\t\n", "rows.tsv:3: a second row vq"),
    ],
)
def test_a_bad_table_of_rows_is_refused(lines: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text(lines)
    with pytest.raises(StudyError, match=message):
        read_rows(tmp_path / "rows.tsv")


@pytest.mark.parametrize("profile", ["smoke", "cpu", "gpu"])
def test_every_run_of_every_profile_has_a_sound_configuration(profile: str) -> None:
    from audiocodec.config.load import load_config

    runs = choose(read_rows(RECIPE / "conf" / "rows.tsv"), "", "")
    assert {run.size for run in runs} == {1024, 8192, 65536, 262144}
    for run in runs:
        load_config(RECIPE / "conf" / f"{profile}.yaml", run.settings)


STAND_IN = """\
#!/bin/bash
echo "$1" >>"$CALLS"
if [ "$1" = "$FAILS" ]; then
    touch "$FOLDER/half"
    printf '%s\\n' 'audiocodec: folder: note' "audiocodec: two things:" "  wrong"  >&2
    kill -s "${SIGNAL:-0}" $$
    exit 2
fi
[ "$1" != evaluate ] || { mkdir -p "$FOLDER/eval"; echo '{}' >"$FOLDER/eval/summary.json"; exit 1; }
"""


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """A trainer whose `audiocodec` notes its calls, fails at the verb `FAILS`, and scores with an utterance unscored."""
    program = tmp_path / "bin" / "audiocodec"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FOLDER", str(tmp_path / "exp" / "vq-1024"))
    (tmp_path / "base.yaml").write_text("train: {steps: 9, warmup_autoencoder_steps: 4}\n")
    data = Data(*(tmp_path / name for name in ("train", "dev", "test", "test")))
    return Trainer(tmp_path / "base.yaml", tmp_path / "exp", data, jobs=1)


def test_a_finished_row_is_not_done_again(trainer: Trainer, tmp_path: Path) -> None:
    run, calls = Run(VQ, 1024), tmp_path / "calls"
    assert trainer.run(run) and finished(tmp_path / "exp" / "vq-1024")
    assert trainer.run(run)
    assert calls.read_text().split() == ["train", "evaluate", "probe"]
    (tmp_path / "base.yaml").write_text(
        "train: {steps: 9, warmup_autoencoder_steps: 5}\n"
    )  # but with another configuration it is
    (tmp_path / "exp" / "vq-1024" / "old").touch()
    assert trainer.run(run)
    assert calls.read_text().split() == ["train", "evaluate", "probe"] * 2
    assert not (tmp_path / "exp" / "vq-1024" / "old").exists()


def test_other_data_to_count_codes_in_is_coded_too(trainer: Trainer, tmp_path: Path) -> None:
    trainer.data = Data(*(tmp_path / name for name in ("train", "dev", "test", "train")))
    assert trainer.run(Run(VQ, 1024))
    assert (tmp_path / "calls").read_text().split() == ["train", "evaluate", "encode", "probe"]


@pytest.mark.parametrize(("signal", "reason"), [("0", "two things: wrong"), ("KILL", "train was killed by signal 9")])
def test_a_row_that_failed_says_why_and_goes_on(
    signal: str, reason: str, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exp" / "vq-1024"
    monkeypatch.setenv("FAILS", "train")
    monkeypatch.setenv("SIGNAL", signal)
    assert not trainer.run(Run(VQ, 1024))
    assert (folder / "failed").read_text() == reason
    monkeypatch.setenv("FAILS", "")
    assert trainer.run(Run(VQ, 1024))
    assert not (folder / "failed").exists() and (folder / "half").exists()  # what it had done is still there
    assert (tmp_path / "calls").read_text().split() == ["train", "train", "evaluate", "probe"]
    assert " --resume" in (folder / "command").read_text().splitlines()[-3]


def test_every_row_begins_with_one_autoencoder(trainer: Trainer, tmp_path: Path) -> None:
    assert trainer.autoencoder() and trainer.autoencoder()
    assert trainer.run(Run(VQ, 1024))
    assert (tmp_path / "calls").read_text().split() == ["train", "train", "evaluate", "probe"]
    first, row = ((tmp_path / "exp" / name / "command").read_text() for name in ("autoencoder", "vq-1024"))
    assert "--set train.steps=4" in first and "--init-from" not in first
    train = row.splitlines()[-3]
    assert f"--init-from {tmp_path}/exp/autoencoder" in train
    assert "--set train.steps=5 --set train.warmup_autoencoder_steps=0" in train  # the other 5 of the 9


def test_a_row_that_says_how_long_it_warms_up_trains_its_own(trainer: Trainer, tmp_path: Path) -> None:
    own = Row("own", "own", (5,), (1024,), ("train.steps=7", "train.warmup_autoencoder_steps=3"))
    (tmp_path / "exp" / "own-1024" / "eval").mkdir(parents=True)
    (tmp_path / "exp" / "own-1024" / "eval" / "summary.json").touch()
    assert trainer.run(Run(own, 1024))
    train = (tmp_path / "exp" / "own-1024" / "command").read_text().splitlines()[-3]
    assert "--set train.steps=7 --set train.warmup_autoencoder_steps=3" in train and "--init-from" not in train
