"""What the checks find of errors that were put into bills of a random ISP, and how many good bills they hold."""

from __future__ import annotations

import pytest

from bench.checks import EACH, HELD_OUT, SIZE, judge, report
from bench.checks_corpus import KINDS, Corpus
from billing_bridge.checks.case import By
from billing_bridge.checks.detect import NO_BILL, at_stake, detect

BY_USAGE = {
    "two sources summed",
    "two weeks of records lost",
    "counter jumped",
    "usage of another line",
    "downstream in both directions",
    "kilobytes for bytes",
}
"""Found by what is usual, not by what must be: some of them look like people."""


def test_at_least_thirty_kinds_of_error_are_put_into_bills() -> None:
    assert len(KINDS) >= 30


def test_a_slice_of_the_corpus_is_found_and_good_bills_leave() -> None:
    score = judge(Corpus(seed=5, size=600, each=3))
    said = report(score, 5)
    assert len(score.errors) >= 40, said
    assert score.recall >= 0.95, said
    assert score.false_holds <= 0.01, said
    certain = {kind: n for kind, n in score.errors.items() if kind not in BY_USAGE and score.found[kind] < n}
    assert not certain, said


def test_each_finding_says_what_was_expected_what_there_is_why_and_what_is_at_stake() -> None:
    corpus, seen = Corpus(seed=9, size=300, each=2), set()
    for kind, draft in corpus.drafts():
        for found in detect(draft.case(corpus.cohorts)) if kind else ():
            said = f"{kind}: {found}"
            assert (found.low, found.high) != (None, None), said
            within = (found.low is None or found.low.minor <= found.actual.minor) and (
                found.high is None or found.actual.minor <= found.high.minor
            )
            assert not within or found.by is By.CONTRACT, said
            assert found.at_stake.minor > 0, said
            assert found.at_stake.currency == found.actual.currency, said
            assert found.text, said
            assert found.records or not found.actual, f"{said}: of nothing there is no record"
            seen.add(found.by)
    assert seen == {By.RULE, By.HISTORY, By.CONTRACT}


def test_a_corpus_without_errors_is_not_held() -> None:
    score = judge(Corpus(seed=6, size=250, each=0))
    assert score.good > 200
    assert not score.errors
    assert sum(score.held.values()) <= 2, report(score, 6)


def test_a_bill_that_was_never_made_is_found_and_whoever_owes_nothing_is_not_asked() -> None:
    corpus = Corpus(seed=8, size=400, each=0)
    drafts = [draft for _, draft in corpus.drafts()]
    quiet, owing = (
        [d for d in drafts if not d.charges],
        [d for d in drafts if sum(c.net.minor for c in d.charges) > 100],
    )
    assert quiet
    assert not [d.account_id for d in quiet if detect(d.case(corpus.cohorts))]
    assert len(owing) > 300
    for draft in owing:
        draft.charges = []
        found = detect(draft.case(corpus.cohorts))
        assert NO_BILL in {f.check for f in found}, draft.account_id
        assert at_stake(found, "EUR").minor > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", HELD_OUT)
def test_ten_thousand_bills_of_a_seed_that_was_not_tuned_on(seed: int) -> None:
    score = judge(Corpus(seed, SIZE, EACH))
    said = report(score, seed)
    print(said)
    assert len(score.errors) == len(KINDS), said
    assert score.recall >= 0.95, said
    assert score.false_holds <= 0.01, said
