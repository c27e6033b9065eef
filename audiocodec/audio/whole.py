"""What libsndfile would pass over without a word: a second file behind the first, samples behind what a header states.

`cat a.ogg b.ogg` is one legal file of which only the first part is read, `cat a.wav b.wav` is none. Headers of
recordings that were not finished, or that went beyond 4 GiB, state fewer samples than follow. Tags, padding and further
chunks may follow the samples of any file.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from audiocodec.audio.container import (
    BIG,
    CORE_AUDIO,
    LITTLE,
    WAVE64,
    Samples,
    after_id3,
    chunks,
    read_at,
    samples_of,
)

JUNK_BYTES = 1024  # that may follow the samples though nothing says what they are
_BLOCK = 1 << 20
_ZEROS = bytes(_BLOCK)
_LAYOUTS = {b"RIFF": LITTLE, b"RF64": LITTLE, b"RIFX": BIG, b"FORM": BIG, b"riff": WAVE64, b"caff": CORE_AUDIO}
_NEXT = (
    b"RIFF",
    b"RF64",
    b"RIFX",
    b"FORM",
    b"data",
    b"SSND",
    b"riff",
    b"caff",
)  # no chunk after samples has such a name
_CODECS = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"Speex   ")
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_MPEG_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SURE_FRAMES = 4  # one after the other: no accident, and no tag frame that an encoder forgot to count


def passed_over(descriptor: int, kind: str) -> str:
    """Why a part of a file would not be read, in words; empty where all of it is.

    Args:
        descriptor: of the file.
        kind: as libsndfile calls it.
    """
    size = os.fstat(descriptor).st_size
    if kind == "FLAC":
        starts = [at for at in find_all(descriptor, b"fLaC") if _is_stream_info(descriptor, at)]
        return _several(len(starts), "FLAC files")
    if kind == "OGG":
        return _several(sum(_is_audio_page(descriptor, at) for at in find_all(descriptor, b"OggS\0")), "Ogg streams")
    if kind == "MP3":
        return "holds several MP3 files, of which only the first would be read" * _goes_on(descriptor, size)
    found = samples_of(descriptor)
    if found is None or found.length is None or not (rest := unexplained(descriptor, found)):
        return ""
    return (
        f"{rest} bytes follow the {found.length} bytes of samples that its header states: several files in one, or a "
        "recording that was not finished; write it anew, as with `ffmpeg -i`"
    )


def unexplained(descriptor: int, samples: Samples, padding: bool = True) -> int:
    """Bytes behind the stated samples that are no chunks; 0 where there is only a little junk, or zeros as `padding`."""
    size, layout = os.fstat(descriptor).st_size, _LAYOUTS.get(read_at(descriptor, 4, 0))
    length = samples.length or 0
    position = samples.start + length
    if layout is not None:
        position = _after_chunks(descriptor, size, position, length, layout)
    is_file = read_at(descriptor, 4, position) in _NEXT
    if position >= size or (
        not is_file and (size - position <= JUNK_BYTES or (padding and _is_zero(descriptor, position)))
    ):
        return 0
    return size - position


def find_all(descriptor: int, needle: bytes) -> Iterator[int]:
    """Every position of `needle` in a file, in bounded memory."""
    position, tail = 0, b""
    while block := read_at(descriptor, _BLOCK, position):
        data, at = tail + block, -1
        while (at := data.find(needle, at + 1)) >= 0:
            yield position - len(tail) + at
        tail = data[-(len(needle) - 1) :]
        position += len(block)


def _several(count: int, what: str) -> str:
    return f"holds {count} {what} one after the other, of which only the first would be read" if count > 1 else ""


def _is_stream_info(descriptor: int, at: int) -> bool:
    return read_at(descriptor, 8, at)[4:] in (b"\0\0\0\x22", b"\x80\0\0\x22")


def _is_audio_page(descriptor: int, at: int) -> bool:
    """Whether an Ogg page begins a stream of audio."""
    page = read_at(descriptor, 27 + 255 + 8, at)
    return len(page) > 27 and bool(page[5] & 2) and page[27 + page[26] :].startswith(_CODECS)


def _after_chunks(descriptor: int, size: int, end: int, length: int, layout: str) -> int:
    """Where the chunks behind the samples end; some writers leave out the byte that pads an odd length."""
    step = {WAVE64: 8, CORE_AUDIO: 1}.get(layout, 2)
    padding = -length % step
    while (found := _chunk(descriptor, size, end + padding, layout)) or (
        padding and (found := _chunk(descriptor, size, end, layout))
    ):
        end = sum(found)
        padding = -found[1] % step
    return min(size, end + padding)


def _chunk(descriptor: int, size: int, position: int, layout: str) -> tuple[int, int] | None:
    """Position and length of the content of the chunk at `position`; None: there is none that could be."""
    for name, start, length in chunks(descriptor, size, position, layout):
        plain = name.isascii() and name.decode().isprintable()
        return (start, length) if plain and name not in _NEXT and 0 <= length <= size - start else None
    return None


def _is_zero(descriptor: int, position: int) -> bool:
    while block := read_at(descriptor, _BLOCK, position):
        if block != _ZEROS[: len(block)]:
            return False
        position += len(block)
    return True


def _goes_on(descriptor: int, size: int) -> bool:
    """Whether frames of MPEG follow where the tag of the first file says that it ends."""
    start = after_id3(descriptor, 0)
    end = _mp3_end(descriptor, start)
    if end is None or end >= size:
        return False
    if read_at(descriptor, 8, end) == b"APETAGEX":
        end += 32 + int.from_bytes(read_at(descriptor, 4, end + 12), "little")
    if read_at(descriptor, 3, end) == b"TAG":
        end += 128
    end = after_id3(descriptor, end)
    near = read_at(descriptor, 1 << 16, end)
    return any(
        _frames_follow(descriptor, end + at)
        for at in range(len(near))
        if near[at] == 0xFF and near[at + 1 :][:1] > b"\xdf"
    )


def _frames_follow(descriptor: int, position: int) -> bool:
    for _ in range(_SURE_FRAMES):
        length = _mpeg_frame(read_at(descriptor, 4, position))
        if not length:
            return False
        position += length
    return True


def _mp3_end(descriptor: int, start: int) -> int | None:
    """Where an MP3 ends by its Xing, Info or VBRI header; None: it has none, and is read to its end."""
    frame = read_at(descriptor, 256, start)
    if (at := frame.find(b"VBRI", 0, 64)) >= 0:
        return start + int.from_bytes(frame[at + 10 : at + 14], "big")
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if at < 0:
        return None
    flags, first, second = struct.unpack(">3I", frame[at + 4 : at + 16].ljust(12, b"\0"))
    if flags & 2 and (stated := second if flags & 1 else first):
        return int(start + stated)
    if not flags & 1:
        return None
    position = start
    for _ in range(first + 1):
        position += _mpeg_frame(read_at(descriptor, 4, position))
    return position


def _mpeg_frame(header: bytes) -> int:
    """Bytes of the frame of MPEG audio with this header; 0: there is none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    index, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate == 3 or not 1 <= index <= 14:
        return 0
    hertz, padding = _MPEG_RATES[version][rate], header[2] >> 1 & 1
    if version == 3:
        kbps = _MPEG_KBPS[1, layer][index - 1]
    else:
        kbps = _MPEG_KBPS[2, min(layer, 2)][index - 1]
    if layer == 1:
        return (12_000 * kbps // hertz + padding) * 4
    return (144_000 if layer == 2 or version == 3 else 72_000) * kbps // hertz + padding
