"""Login-Time of FreeRADIUS (UUCP's format: Wk0800-1800,Sa0900-1200) in the hours of our terms. Pure."""

from __future__ import annotations

import re

_DAYS = {"wk": "mo-fr", "any": "mo-su", "al": "mo-su"}
_SINGLE = ("mo", "tu", "we", "th", "fr", "sa", "su")
_PART = re.compile(r"(wk|any|al|mo|tu|we|th|fr|sa|su)(?:-(mo|tu|we|th|fr|sa|su))?(?:(\d\d)(\d\d)-(\d\d)(\d\d))?", re.I)


def hours(login_time: str) -> list[str] | None:
    """Windows like "mo-fr 08:00-18:00"; empty for always; None for what cannot be said so."""
    windows = []
    for part in re.split(r"[,|]", login_time.replace(" ", "")):
        match = _PART.fullmatch(part)
        if match is None:
            return None
        first = match[1].lower()
        days = _DAYS.get(first, first)
        if match[2] is not None:
            if first not in _SINGLE:
                return None
            days = f"{first}-{match[2].lower()}"
        if match[3] is None:
            if days == "mo-su":
                return []
            windows.append(f"{days} 00:00-24:00")
        elif int(match[3]) > 23 or int(match[4]) > 59 or int(match[5]) > 24 or int(match[6]) > 59:
            return None
        else:
            windows.append(f"{days} {match[3]}:{match[4]}-{match[5]}:{match[6]}")
    return windows
