"""Our dictionaries beside those that FreeRADIUS brings: the same name must mean the same attribute.

A wrong number in a dictionary of ours would be ignored by every NAS in silence. FreeRADIUS's files (Debian package
freeradius-common) are read here as facts to compare with, and are no part of the program.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from radius.protocol import dictionary

THEIRS = Path("/usr/share/freeradius")
Number = tuple[int, int]


@cache
def theirs() -> dict[str, set[Number]]:
    """Lower-case name → every (vendor, number) that FreeRADIUS has for it."""
    found: dict[str, set[Number]] = {}
    vendors: dict[str, int] = {}
    for path in sorted(THEIRS.glob("dictionary.*")):
        vendor = 0
        for line in path.read_text(errors="replace").splitlines():
            words = line.split()
            if len(words) >= 3 and words[0] == "VENDOR":
                vendors[words[1]] = int(words[2], 0)
            elif len(words) >= 2 and words[0] == "BEGIN-VENDOR":
                vendor = vendors[words[1]]
            elif words[:1] == ["END-VENDOR"]:
                vendor = 0
            elif len(words) >= 4 and words[0] == "ATTRIBUTE" and re.fullmatch(r"\d+|0x[0-9a-f]+", words[2]):
                found.setdefault(words[1].lower(), set()).add((vendor, int(words[2], 0)))
    return found


@pytest.mark.skipif(not THEIRS.is_dir(), reason="freeradius-common is not installed")
def test_every_attribute_that_both_name_has_the_same_number() -> None:
    names = [name for name in dictionary.load().attributes if name.lower() in theirs()]
    assert len(names) > 250, "the comparison compares something"
    assert {
        name: dictionary.number(name) for name in names if dictionary.number(name) not in theirs()[name.lower()]
    } == {}
