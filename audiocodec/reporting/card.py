"""A model card from what a run left behind: codec, training, scores with intervals; what no file knows is added as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from audiocodec import model_file
from audiocodec.config.schema import Config, TrainConfig
from audiocodec.errors import AudioCodecError
from audiocodec.evaluation.catalogue import MEASURES
from audiocodec.evaluation.results import cell
from audiocodec.evaluation.summary_file import CodebookSummary, Summary, read_summary
from audiocodec.markdown import table
from audiocodec.model_header import FileHeader
from audiocodec.training.monitor import history

SHOWN = (
    *("kbps_payload", "pesq", "stoi", "estoi", "mel_distance", "dnsmos_ovrl", "visqol", "speaker_similarity"),
    *("vuv_f1", "f0_median_cents", *(f"level_{band}_khz" for band in ("0_1", "1_2", "2_4", "4_8"))),
)


def card(
    title: str,
    model: Path,
    run: Path,
    evaluations: Mapping[str, Path],
    baselines: Mapping[str, Path],
    about: str,
    picture: str | None = None,
) -> str:
    """The card as Markdown.

    Args:
        title: its first line.
        model: what `model_file.describe` takes: the file that the card is about.
        run: folder of the experiment that made it.
        evaluations: of the model, by the name that a row of the table gets.
        baselines: evaluations of other codecs, which get rows below.
        about: Markdown put below: known failures, audio and licences.
        picture: link to the picture of the training log.

    Raises:
        AudioCodecError: something of it is not there, or an evaluation is not of the model.
    """
    header = model_file.describe(model)
    runs = history.read(run)
    parts = [
        f"# {title}",
        *([f"Warning: {header.warning}."] if header.warning else []),
        table(["", ""], [*facts(header), *_training(header.config, runs)]),
    ]
    summaries = {label: _of_model(folder, header.fingerprint) for label, folder in evaluations.items()}
    usage = _usage(summaries) if summaries else []
    summaries |= {label: read_summary(folder) for label, folder in baselines.items()}
    if summaries:
        parts += ["## Scores", _scores(summaries), "Means over utterances; in brackets 95 % intervals by bootstrap."]
        parts += usage
        parts += ["```\n" + "\n".join(dict.fromkeys(s.command for s in summaries.values())) + "\n```"]
    if picture:
        parts += [
            "## Training log",
            f"![losses, validation, use of the codebooks and learning rate against steps]({picture})",
        ]
    return "\n\n".join([*parts, about.strip()]).rstrip() + "\n"


def facts(header: FileHeader) -> list[tuple[str, str]]:
    """What a model is, by what its header says: rows of the card's first table, and of a page without a card."""
    config = header.config
    q, encoder, decoder = config.quantizer, config.model.encoder, config.model.decoder
    blocks = f", {encoder.convnext_layers} ConvNeXt blocks" if encoder.convnext_layers else ""
    width = f"{decoder.layers} x {decoder.dim}" if decoder.kind != "seanet" else f"{decoder.base_channels} channels"
    rates = sorted({1, q.num_codebooks})
    kbps = " to ".join(f"{config.bitrate_bps * n / q.num_codebooks / 1000:g}" for n in rates)
    sound = "stereo" if config.channels > 1 else "mono"
    return [
        ("codec", f"{config.sample_rate / 1000:g} kHz {sound}, {config.frame_rate:g} frames a second, {kbps} kbps"),
        ("quantizer", f"{q.kind}, {q.num_codebooks} x {q.codebook_size:,} codes of {q.codebook_dim} dimensions"),
        ("parts", f"SEANet encoder of {encoder.base_channels} channels{blocks}; {decoder.kind} decoder, {width}"),
        ("weights", f"{header.parameters:,} parameters, {header.bytes / 1e6:.1f} MB"),
        ("fingerprint", header.fingerprint),
        ("configuration", f"{config.name}, {header.config_fingerprint}"),
    ]


def _of_model(folder: Path, fingerprint: str) -> Summary:
    summary = read_summary(folder)
    if summary.codecs != (fingerprint,):
        found = ", ".join(summary.codecs) or "no token files"
        raise AudioCodecError(f"{folder}: scores of {found}, but the card is about {fingerprint}")
    return summary


def _training(config: Config, runs: Sequence[history.Run]) -> list[tuple[str, str]]:
    train, last = config.train, runs[-1]
    segments = train.batch_size * train.gradient_accumulation
    seconds = segments * config.segment_samples / config.sample_rate
    where = dict.fromkeys(f"{r.processes} x {r.hardware}, {r.threads} threads, torch {r.torch}" for r in runs)
    augmented = {kind: share for kind, share in vars(config.data.augment).items() if share}
    begins = next((r.begins_with for r in runs if r.begins_with is not None), None)
    whole = [r.first_step for r in runs] == [0, *(r.last_step for r in runs[:-1])]  # nothing was killed
    kinds = ", ".join(f"{kind} {share:g}" for kind, share in augmented.items())
    return [
        ("begins with", "not recorded" if begins is None else begins or "random weights"),
        ("data", f"{last.hours:.2f} h, {last.clips:,} clips, {last.speakers:,} speakers"),
        (
            "steps",
            f"{last.last_step:,} {_goal(train)}, each of {segments} segments, {seconds:g} s of audio, per process",
        ),
        ("time", f"{'' if whole else 'at least '}{sum(r.seconds for r in runs) / 3600:.1f} h in {len(runs)} run(s)"),
        ("hardware", "; ".join(where)),
        ("augmentation", f"shares of the segments: {kinds}" if kinds else "none"),
    ]


def _goal(train: TrainConfig) -> str:
    return f"in {train.minutes:g} minutes" if train.minutes else f"of {train.steps:,}"


def _scores(summaries: Mapping[str, Summary]) -> str:
    used = [MEASURES[name] for name in SHOWN if any(name in s.measures for s in summaries.values())]
    rows = [
        (label, f"{s.n_rows}", *(cell(s.measures.get(m.name), f".{m.decimals}f", s.n_rows) for m in used))
        for label, s in summaries.items()
    ]
    return table(["audio", "utterances", *(measure.heading for measure in used)], rows)


def _usage(summaries: Mapping[str, Summary]) -> list[str]:
    """How the codebooks are used, in the first of the evaluations that use most of them."""
    codebooks = {label: summary.codebooks for label, summary in summaries.items()}
    label = max(codebooks, key=lambda one: len(codebooks[one]))
    rows = [
        (f"{i}", f"{100 * use.usage:.1f} %", f"{use.perplexity:,.0f}", _one(use), f"{use.frames:,}")
        for i, use in enumerate(codebooks[label])
    ]
    head = [f"codebook, {label}", "used", "perplexity", "effective dimension", "frames"]
    return [table(head, rows)] if rows else []


def _one(use: CodebookSummary) -> str:
    return "-" if use.effective_dimension is None else f"{use.effective_dimension:.1f}"
