"""Write the golden token files by hand: docs/reference/token_format.md, struct, zlib and plain loops, nothing else.

`python tests/golden/make_golden.py [FOLDER]` writes FOLDER/*.act and FOLDER/expected.json (default: the
folder `token_files` beside this script). It must not import the package: it is the package's judge. Files
of a published version are never changed; a new version of the layout gets new files.
"""

import json
import struct
import sys
import zlib
from pathlib import Path

EXAMPLE = {
    "codes": [[1, 999, 512], [2, 0, 1]],
    "codebook_sizes": [1000, 3],
    "sample_rate": 24000,
    "hop_length": 320,
    "num_samples": 700,
    "original_sample_rate": 44100,
    "original_channels": 2,
    "original_num_samples": 1286,
    "gain": 0.5,
    "fingerprint": "0001020304050607",
    "notes": {"id": "a"},
}
FILES = {
    "example": EXAMPLE,
    # the example in its first codebook only: what cutting to fewer codebooks must give
    "example_cut": {**EXAMPLE, "codes": [[1, 999, 512]], "codebook_sizes": [1000]},
    # every width from 1 bit to 24, the extreme codes, a length that fills the last byte exactly
    "widths": {
        **EXAMPLE,
        "codes": [[0, 2**width - 1] * 4 for width in range(1, 25)],
        "codebook_sizes": [2**width for width in range(1, 25)],
        "num_samples": 8 * 320,
        "notes": {},
    },
    # one second of one codebook, as a 75 Hz speech codec writes it
    "second": {
        "codes": [[(37 * frame * frame + 11 * frame) % 8192 for frame in range(75)]],
        "codebook_sizes": [8192],
        "sample_rate": 24000,
        "hop_length": 320,
        "num_samples": 24000,
        "original_sample_rate": 16000,
        "original_channels": 1,
        "original_num_samples": 16000,
        "gain": 1.7320508075688772,
        "fingerprint": "89ab0000ffffcdef",
        "notes": {"speaker": "Zoë", "take": 2},
    },
    # the shortest there is: one sample, one frame, one bit; not a power of two above it
    "shortest": {
        **EXAMPLE,
        "codes": [[1], [4]],
        "codebook_sizes": [2, 5],
        "num_samples": 1,
        "original_num_samples": 1,
        "notes": {},
    },
}


def width_of(size):
    bits = 0
    while 2**bits < size:
        bits += 1
    return bits


def payload(codes, sizes):
    out, bit = bytearray(), 0
    for frame in range(len(codes[0])):
        for row, size in zip(codes, sizes):
            for place in range(width_of(size)):
                if bit % 8 == 0:
                    out.append(0)
                if (row[frame] >> place) & 1:
                    out[bit // 8] |= 1 << (bit % 8)
                bit += 1
    return bytes(out)


def token_file(values):
    sizes, notes = values["codebook_sizes"], b""
    if values["notes"]:
        notes = json.dumps(values["notes"], ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    data = b"\x89ACT"
    data += struct.pack("<B", 1)
    data += struct.pack("<B", len(sizes))
    data += struct.pack("<H", values["original_channels"])
    data += struct.pack("<I", values["sample_rate"])
    data += struct.pack("<I", values["hop_length"])
    data += struct.pack("<I", values["original_sample_rate"])
    data += struct.pack("<I", len(notes))
    data += struct.pack("<Q", len(values["codes"][0]))
    data += struct.pack("<Q", values["num_samples"])
    data += struct.pack("<Q", values["original_num_samples"])
    data += struct.pack("<d", values["gain"])
    data += bytes.fromhex(values["fingerprint"])
    assert len(data) == 64
    for size in sizes:
        data += struct.pack("<I", size)
    data += notes
    data += payload(values["codes"], sizes)
    return data + struct.pack("<I", zlib.crc32(data))


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in FILES.items():
        (folder / f"{name}.act").write_bytes(token_file(values))
    (folder / "expected.json").write_text(json.dumps(FILES, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "token_files")
