"""The fingerprint of an OpenPGP public key (RFC 4880, version 4), so that a key is trusted by it without gpg."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from ...system.digests import openpgp_v4

BEGIN, END = b"-----BEGIN PGP PUBLIC KEY BLOCK-----", b"-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY = 6  # the tag of a primary key's packet


def dearmored(data: bytes) -> bytes:
    """The binary form of a key file, armored or not. Raises ValueError for a broken armor, and for two blocks.

    rpm reads every block of the file later, so an unchecked second block would be trusted.
    """
    if BEGIN not in data:
        return data
    if data.count(BEGIN) > 1 or data[0] & 0x80:
        raise ValueError("more than one block in the file of the key")
    block = data.split(BEGIN, 1)[1].split(END, 1)[0].replace(b"\r\n", b"\n")
    _headers, _mark, body = block.partition(b"\n\n")
    lines = [line.strip() for line in body.split(b"\n") if line.strip()]
    if lines and lines[-1].startswith(b"="):  # the checksum
        lines.pop()
    try:
        return base64.b64decode(b"".join(lines), validate=True)
    except binascii.Error as error:
        raise ValueError("the key's armor is broken") from error


def shown(fingerprint: str) -> str:
    """For people. Without the word before it, these 40 hexadecimal digits would be hidden as a key of W&B."""
    return f"fingerprint {fingerprint}"


def packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(tag, body) of each packet. Raises ValueError where the data ends early or is no OpenPGP."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise ValueError("this is no OpenPGP key")
        if first & 0x40:
            tag, (length, head) = first & 0x3F, _new_length(data[at + 1 : at + 6])
        else:
            size = {0: 1, 1: 2, 2: 4}.get(first & 3, 0)
            tag, head = (first >> 2) & 0x0F, size
            length = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else len(data) - at - 1
        begin = at + 1 + head
        if begin + length > len(data):
            raise ValueError("the key ends early")
        yield tag, data[begin : begin + length]
        at = begin + length


def _new_length(octets: bytes) -> tuple[int, int]:
    """Length of a body, and the octets that state it."""
    if octets and octets[0] < 192:
        return octets[0], 1
    if len(octets) > 1 and octets[0] < 224:
        return ((octets[0] - 192) << 8) + octets[1] + 192, 2
    if len(octets) == 5 and octets[0] == 255:
        return int.from_bytes(octets[1:], "big"), 5
    raise ValueError("the key has a packet of an unexpected kind")


def fingerprints(data: bytes) -> list[str]:
    """Fingerprints, in capitals, of the primary keys in a key file, armored or not."""
    keys = [body for tag, body in packets(dearmored(data)) if tag == PUBLIC_KEY]
    if any(not body or body[0] != 4 for body in keys):
        raise ValueError("only keys of version 4 are known")
    return [openpgp_v4(body) for body in keys]
