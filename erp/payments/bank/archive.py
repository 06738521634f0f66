"""ZIP archives of bank files, as several banks deliver them: which members they have, and the octets of each. Pure.

Refused is what could be made to fill the memory: many members, a large directory, members that unpack to more than a
bank file may have or all of them to more than `MOST_TOGETHER` of those, and compressions that cannot be read in pieces.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from erp.payments.errors import FileRefused

MOST_MEMBERS = 1_000
MOST_TOGETHER = 10
"""All members of an archive unpack to at most as many octets as so many of the largest files."""
_MOST_DIRECTORY = 512 * 1024
_SIGNATURE, _END, _BEFORE_END = b"PK\x03\x04", b"PK\x05\x06", b"PK\x06\x07"
_END_OCTETS, _COMMENT_OCTETS, _LOCATOR_OCTETS = 22, 65_535, 20
_ENCRYPTED = 0x1


def is_archive(raw: bytes) -> bool:
    return raw.startswith(_SIGNATURE)


def members(raw: bytes, most_octets: int) -> Iterator[tuple[str, bytes | FileRefused]]:
    """Each file in it, in the order of names: its octets, or why they cannot be read. Raises FileRefused for no ZIP."""
    _require_small_directory(raw)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as opened:
            files = sorted((i for i in opened.infolist() if not i.is_dir()), key=lambda i: i.filename)
            if not 0 < len(files) <= MOST_MEMBERS:
                raise FileRefused(f"the archive holds {len(files)} files: 1 to {MOST_MEMBERS} are read")
            left = most_octets * MOST_TOGETHER
            for info in files:
                content = _content(opened, info, min(most_octets, left))
                left -= len(content) if isinstance(content, bytes) else 0
                yield info.filename, content
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise FileRefused("this is no ZIP archive that can be read: it may have been cut off") from error


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo, most_octets: int) -> bytes | FileRefused:
    if info.flag_bits & _ENCRYPTED:
        return FileRefused("it is encrypted: unpack the archive and import the file itself")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return FileRefused("it is compressed in a way that is not read: unpack the archive and import the file itself")
    try:
        with opened.open(info) as packed:
            content = packed.read(most_octets + 1)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, ValueError, OSError, EOFError):
        return FileRefused("it cannot be unpacked: its octets are not those that were packed")
    if len(content) > most_octets:
        return FileRefused(f"it unpacks to more than {most_octets} octets")
    return content


def _require_small_directory(raw: bytes) -> None:
    """A directory is read as a whole, with an object for each member: its size is looked at where zipfile finds it."""
    at = len(raw) - _END_OCTETS
    if not (raw[at : at + 4] == _END and raw.endswith(b"\0\0")):
        at = raw.rfind(_END, max(0, at - _COMMENT_OCTETS))
    if at < 0 or len(raw) < at + _END_OCTETS:
        raise FileRefused("this is no ZIP archive: its end is missing")
    (size,) = struct.unpack_from("<L", raw, at + 12)
    is_large = raw[max(0, at - _LOCATOR_OCTETS) : at].startswith(_BEFORE_END)
    if is_large or size > _MOST_DIRECTORY:
        raise FileRefused(f"the archive holds too many files: 1 to {MOST_MEMBERS} are read")
