"""Packets of an Ogg file (RFC 3533) that holds one stream, for counting what is payload in an Opus file (RFC 7845)."""

from __future__ import annotations

from audiocodec.errors import AudioError

_MAGIC, _HEADER_BYTES = b"OggS", 27
_FULL_SEGMENT = 255  # a packet goes on after a segment of this length
_OPUS_HEADERS = 2  # the identification and the comments, a packet each


def packets(data: bytes) -> list[bytes]:
    """The packets of a file, in order.

    Raises:
        AudioError: it is not made of whole pages, or its last packet is not complete.
    """
    found: list[bytes] = []
    position, packet, open_packet = 0, b"", False
    while position < len(data):
        if data[position : position + 4] != _MAGIC or len(data) < position + _HEADER_BYTES:
            raise AudioError(f"no Ogg page at byte {position}")
        body = position + _HEADER_BYTES + data[position + _HEADER_BYTES - 1]
        table = data[position + _HEADER_BYTES : body]
        for length in table:
            packet, body = packet + data[body : body + length], body + length
            open_packet = length == _FULL_SEGMENT
            if not open_packet:
                found.append(packet)
                packet = b""
        position = body
    if position != len(data) or open_packet:
        raise AudioError("Ogg file ends inside a page or packet")
    return found


def opus_payload_bits(data: bytes) -> int:
    """Bits of all audio packets of an Opus file.

    Raises:
        AudioError: it is not an Opus file.
    """
    found = packets(data)
    if len(found) < _OPUS_HEADERS or not found[0].startswith(b"OpusHead") or not found[1].startswith(b"OpusTags"):
        raise AudioError("not an Opus file")
    return 8 * sum(len(packet) for packet in found[_OPUS_HEADERS:])
