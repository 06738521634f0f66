"""Which of the languages that we write a browser would rather read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)\Z")
_MOST = 50


def preferred(accept_language: str, offered: Sequence[str]) -> str:
    """The header as RFC 9110 §12.5.4 has it, looked up by RFC 4647 §3.4: who asks for de-AT is given de.

    The first of `offered`, which are tags of one part, where nothing else fits; what cannot be read is passed over.
    """
    wanted = sorted(_ranges(accept_language), key=lambda found: -found[0])
    refused = {tag for quality, tag in wanted if not quality}
    left = [tag for tag in offered if tag not in refused]
    for quality, tag in wanted:
        found = left[0] if tag == "*" and left else tag.partition("-")[0]
        if quality and found in left:
            return found
    return offered[0]


def _ranges(header: str) -> Iterator[tuple[float, str]]:
    for each in header.split(",")[:_MOST]:
        tag, _, parameter = each.strip().lower().partition(";")
        quality = _QUALITY.match(parameter.strip() or "q=1")
        if tag.strip() and quality is not None:
            yield float(quality[1]), tag.strip()
