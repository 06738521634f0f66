"""What a document says is written before it has a number; with it, it is the text that it would be as a whole."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from erp.finance.content import AT_ISSUE, Said, canonical, digest, fingerprint

PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
VALUES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
AT = st.fixed_dictionaries(dict.fromkeys(AT_ISSUE, PLAIN))


@given(rest=st.dictionaries(st.text(max_size=12), VALUES, max_size=12), before=AT, at_issue=AT)
def test_the_text_at_the_issue_and_the_fingerprint_before_it_are_those_of_the_whole_content(
    rest: dict[str, object], before: dict[str, object], at_issue: dict[str, object]
) -> None:
    said = Said.of({**rest, **before})
    whole = {**rest, **at_issue}
    assert said.issued(**at_issue) == canonical(whole)
    assert said.fingerprint == fingerprint(whole)


def test_a_document_that_says_only_what_the_issue_adds_is_written_too() -> None:
    at_issue = dict.fromkeys(AT_ISSUE, "x")
    assert Said.of(at_issue).issued(**at_issue) == canonical(at_issue)
    assert Said.of(at_issue).fingerprint == digest("{}")
