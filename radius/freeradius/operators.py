"""Operators of FreeRADIUS's SQL tables, as rlm_sql applies them: which rows set something, which ask, what a reply is.

In a reply := replaces, = gives what is absent, += adds one more, and == takes away what differs. In a check := and +=
set something, and everything else asks the request. Pure.
"""

from __future__ import annotations

Line = tuple[str, str, str]
"""Attribute, operator, value."""
Lines = list[Line]

ALWAYS_SENT = {
    ("Service-Type", "framed-user"),
    ("Service-Type", "2"),
    ("Framed-Protocol", "ppp"),
    ("Framed-Protocol", "1"),
}
"""What every session of ours asks for and is told; values in lower case."""
_SETS = (":=", "+=")
_NEVER_ASKED = frozenset({"Auth-Type", "Autz-Type", "Acct-Type", "Session-Type", "Strip-User-Name", "Crypt-Password"})
"""What sets something by any operator."""


def set_by(lines: Lines, more: Lines) -> Lines:
    """What a check sets after `lines`, as its operators say."""
    return given(lines, [line for line in more if not is_asked(line)])


def is_asked(line: Line) -> bool:
    attribute, op, _ = line
    return op not in _SETS and attribute not in _NEVER_ASKED


def always_holds(line: Line) -> bool:
    """Whoever dials in here asks for a framed service."""
    attribute, op, value = line
    return op == "==" and (attribute, value.lower()) in ALWAYS_SENT


def given(lines: Lines, more: Lines) -> Lines:
    """`more` after `lines`, as its operators say: each looks at what was there before `more`, not at its neighbours."""
    kept: list[Line | None] = list(lines)
    fresh, added = set(range(len(kept))), []
    for line in more:
        attribute, op, value = line
        same = [at for at in sorted(fresh) if lines[at][0] == attribute]
        if op == "==":
            for at in same:
                if lines[at][2] != value:
                    kept[at] = None
                    fresh.discard(at)
        elif op == "+=" or (op in (":=", "=") and not same):
            added.append(line)
        elif op == ":=":
            kept[same[0]] = line
            fresh.discard(same[0])
    return [line for line in kept if line is not None] + added


def falls_through(lines: Lines) -> bool | None:
    """What Fall-Through says; None where it says nothing."""
    for attribute, _, value in lines:
        if attribute == "Fall-Through":
            return value.lower() in ("yes", "1", "true")
    return None


def without_control(lines: Lines) -> Lines:
    return [line for line in lines if line[0] != "Fall-Through"]
