"""Text of strangers on an operator's terminal.

User names, session ids and the like are whatever somebody sends: with control characters in them they could colour,
move or retitle a terminal, feign further lines, or turn the direction of writing round.
"""

from __future__ import annotations


def plain(text: str) -> str:
    """One line, with everything that is not printable written as an escape such as \\x1b or \\u202e."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
