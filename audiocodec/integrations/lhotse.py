"""Tokens in lhotse's manifests: a `CutSet` in, the same cuts with their codes as a field out; and its cuts as a data folder.

The codes are a `TemporalArray`: `cut.load_audio_tokens()` gives them, and lhotse cuts them as it cuts the audio. Their
level is that of the recording; nothing is normalized, because a cut of a cut would need another factor.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from audiocodec.codec.inputs import as_array, prepare
from audiocodec.codec.interface import BlockCodec
from audiocodec.data.excerpt import Excerpt
from audiocodec.data.manifest import Utterance, write_folder
from audiocodec.errors import AudioCodecError, AudioError, ManifestError

FIELD = "audio_tokens"


def add_tokens(
    cuts: Iterable[Any],
    codec: BlockCodec,
    writer: Any,
    *,
    field: str = FIELD,
    num_codebooks: int | None = None,
) -> Iterator[Any]:
    """Encode cuts, one after the other, in bounded memory.

    Args:
        cuts: a `CutSet`, or its cuts; any rate; channels are mixed.
        codec: what `audiocodec.load` gave.
        writer: open storage of lhotse's, as `NumpyFilesWriter(folder)`.
        field: of the cut that gets the codes.
        num_codebooks: use only the first so many; None: all.

    Yields:
        Copies of the cuts whose `field` describes int32 codes `[T, K]`, a step every `hop_length / sample_rate` seconds.
        `CutSet.from_cuts` collects them.

    Raises:
        AudioError: a cut without a recording or of several, or audio that cannot be read or coded; it names the cut.
    """
    for cut in cuts:
        codes = _encode(cut, codec, num_codebooks)
        stored = writer.store_array(
            key=cut.id,
            value=np.ascontiguousarray(codes.T),
            frame_shift=codec.hop_length / codec.sample_rate,
            temporal_dim=0,
            start=getattr(cut, "start", 0),
        )
        yield cut.with_custom(field, stored)


def write_data_folder(cuts: Iterable[Any], out_dir: str | os.PathLike[str]) -> None:
    """Write the data folder of cuts, to train on: parts of recordings become `segments`, speakers those of the supervisions.

    Args:
        cuts: a `CutSet`, or its cuts, of files with one channel.
        out_dir: the folder; tables that are there are overwritten.

    Raises:
        ManifestError: a cut that a data folder cannot hold, or equal ids; it names the cut.
    """
    write_folder([_utterance(cut) for cut in cuts], out_dir)


def _utterance(cut: Any) -> Utterance:
    recording = getattr(cut, "recording", None)
    if recording is None:
        raise ManifestError(f"cut {cut.id}: is not of one recording")
    if len(recording.sources) != 1 or recording.sources[0].type != "file":
        kinds = [source.type for source in recording.sources]
        raise ManifestError(f"cut {cut.id}: need a recording of one file, got sources {kinds}")
    if recording.num_channels != 1:
        raise ManifestError(f"cut {cut.id}: need one channel, got {recording.num_channels}")
    if recording.transforms:
        raise ManifestError(f"cut {cut.id}: is transformed when it is read; cut.save_audio(PATH) makes a file of it")
    path, speaker = str(recording.sources[0].source), next((s.speaker for s in cut.supervisions if s.speaker), cut.id)
    if cut.start == 0 and cut.num_samples == recording.num_samples:
        return Utterance(cut.id, path, speaker, recording.num_samples)
    return Utterance(cut.id, Excerpt(path, recording.id, cut.start, cut.end), speaker, 0)


def _encode(cut: Any, codec: BlockCodec, num_codebooks: int | None) -> np.ndarray:
    if not cut.has_recording:
        raise AudioError(f"cut {cut.id}: has no recording")
    if not hasattr(cut, "with_custom"):
        raise AudioError(
            f"cut {cut.id}: a mix of cuts holds no tokens; cut.save_audio(PATH) makes it a single recording"
        )
    try:
        wav, rate = as_array(cut.load_audio()).astype(np.float32), cut.sampling_rate
        samples = prepare(np.atleast_2d(wav), rate, codec.sample_rate, None).samples
        return np.concatenate(list(codec.encode_blocks([samples], num_codebooks)), 1)
    except AudioCodecError as error:
        raise AudioError(f"cut {cut.id}: {error}") from None
    except Exception as error:  # noqa: BLE001 - what lhotse and its readers raise has no base class
        raise AudioError(f"cut {cut.id}: cannot read its audio: {error}") from None
