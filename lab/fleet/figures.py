"""What a run of the fleet saw, as figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass
class Seen:
    """Times in seconds, one for each request that was answered."""

    first_to_answer: list[float] = field(default_factory=list)
    """From the first transmission: what the user waits, with every loss in it."""
    last_to_answer: list[float] = field(default_factory=list)
    """From the transmission before the answer: what the controller takes, as far as a NAS can tell."""
    transmissions: int = 0
    given_up: int = 0
    """The controller owed an answer: a request reached it that no answer came back for."""
    lost_on_the_line: int = 0
    """Given up, too, but every request or its answer was lost by our own line: at 2 % one login in 400,000."""

    def answered(self, first_s: float, last_s: float) -> None:
        self.first_to_answer.append(first_s)
        self.last_to_answer.append(last_s)


@dataclass(frozen=True)
class Report:
    """`drained_s`: from the first transmission of all to the last answer of all. `fleet_busy_s`: processor time of the
    fleet itself; where it comes near `drained_s`, the fleet was measured and not the controller.
    """

    users: int
    accepted: int
    rejected: int
    logins_given_up: int
    logins_lost_on_the_line: int
    login_p50_s: float
    login_p99_s: float
    login_p99_with_losses_s: float
    login_transmissions: int
    records_acknowledged: int
    records_not_acknowledged: int
    record_p99_s: float
    record_transmissions: int
    lines_lost: int
    lines_duplicated: int
    lines_reordered: int
    logged_in_s: float
    drained_s: float
    fleet_busy_s: float

    def text(self) -> str:
        return "\n".join(f"{name.replace('_', ' '):<28}{_shown(value)}" for name, value in asdict(self).items())


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _shown(value: float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
