"""Precision and recall of the checks before an invoice leaves, per kind of error, on a corpus of 10,000 bills.

The first seed is the one on which limits were chosen; those held out were not looked at and are printed apart.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench import checks_cost
from bench.checks_corpus import KINDS, Corpus
from bench.results import Result
from billing_bridge.checks.detect import detect

TUNED_ON = 1
HELD_OUT = (20260304, 77)
SIZE, EACH = 10_000, 25


@dataclass(slots=True)
class Score:
    """Bills with and without an error, and how many of each were held."""

    errors: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    named: dict[str, Counter[str]] = field(default_factory=dict)
    good: int = 0
    held: Counter[str] = field(default_factory=Counter)
    """Good bills held, by the dearest finding."""
    seconds: float = 0.0

    @property
    def recall(self) -> float:
        return sum(self.found.values()) / max(1, sum(self.errors.values()))

    @property
    def false_holds(self) -> float:
        return sum(self.held.values()) / max(1, self.good)

    @property
    def precision(self) -> float:
        right = sum(self.found.values())
        return right / max(1, right + sum(self.held.values()))


def judge(corpus: Corpus) -> Score:
    """Run every check over every bill of the corpus."""
    score = Score()
    for kind, draft in corpus.drafts():
        case = draft.case(corpus.cohorts)
        began = time.process_time()
        findings = detect(case)
        score.seconds += time.process_time() - began
        if kind is None:
            score.good += 1
            if findings:
                score.held[findings[0].check] += 1
        else:
            score.errors[kind] += 1
            score.found[kind] += bool(findings)
            score.named.setdefault(kind, Counter()).update({f.check for f in findings})
    return score


def report(score: Score, seed: int) -> str:
    """A table: kind, how many, how many found, and what the findings were called."""
    lines = [
        f"seed {seed}: {sum(score.errors.values())} bills with {len(score.errors)} kinds of error, {score.good} without"
    ]
    for kind in KINDS:
        if score.errors[kind]:
            share = score.found[kind] / score.errors[kind]
            names = ", ".join(name for name, _ in score.named[kind].most_common(3))
            lines.append(f"  {kind:32} {score.found[kind]:4} of {score.errors[kind]:4}  {share:6.1%}  {names}")
    held = ", ".join(f"{name} {n}" for name, n in score.held.most_common())
    lines.append(f"  found {score.recall:.2%}, precision {score.precision:.2%}")
    lines.append(f"  good bills held {score.false_holds:.2%} ({held or 'none'})")
    return "\n".join(lines)


def run(_seconds: float, rounds: int) -> Sequence[Result]:
    results = []
    for seed in (TUNED_ON, *HELD_OUT):
        score = judge(Corpus(seed, SIZE, EACH))
        print(report(score, seed))
        scale = f"seed {seed}{'' if seed == TUNED_ON else ', held out'}, {SIZE} bills"
        bills = score.good + sum(score.errors.values())
        results += [
            Result("bill checks: errors found", 100 * score.recall, "%", scale, goal=">= 95", met=score.recall >= 0.95),
            Result(
                "bill checks: good bills held", 100 * score.false_holds, "%", scale,
                goal="<= 1", met=score.false_holds <= 0.01,
            ),
            Result("bill checks: CPU", 1e6 * score.seconds / bills, "µs per bill", scale),
        ]  # fmt: skip
    return [*results, *checks_cost.run(rounds)]
