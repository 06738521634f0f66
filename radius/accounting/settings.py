"""What an operator may tune about accounting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AccountingSettings:
    """Defaults serve 100,000 live sessions on one machine."""

    max_pending: int = 20_000
    """Records taken but not yet stored. Above it records are refused, so their answers are late and the NAS repeats
    them: about one second of work, as no NAS waits longer than a few seconds."""
    unanswerable_after_s: float = 30.0
    """When there is no room, records that wait for longer are given up first: a NAS that repeats one does so with a new
    identifier within this time, and takes no answer to the old."""
    max_sessions_in_memory: int = 250_000
    """Acct-Session-Ids whose lives are kept in memory (about 1.5 kB each); others are read when they report."""
    plan_margin: float = 1.5
    """How many times the speed of its plan a session is believed to have had: bursts, headers that the plan does not
    count, and a plan that changed between two reports."""
    hold_above_plan: bool = False
    """Quarantine what exceeds the plan and its margin, not only what the port cannot have carried. A NAS that shapes
    loosely, or not at all, would fill the quarantine; one that shapes never exceeds it, so what does is wrong."""
    missed_interims: int = 3
    """A session silent for so many interim intervals of its NAS is ended provisionally."""
    restart_grace_s: int = 60
    """After Accounting-On or -Off, sessions of that NAS have so long to report again before they are ended."""
    sweep_interval_s: float = 15.0
    """How often silent sessions are looked for."""
    archive_after_s: int = 3_600
    """Ended sessions unheard of for so long move to the history: late records mostly come earlier."""
    look_back_days: int = 100
    """How far back the history is searched for the session of a record that does not itself claim to be of an older
    one: an Acct-Session-Id that was given out before that is another session."""
    keep_history_days: int | None = None
    """Sessions that nothing was heard of for longer are given up with their addresses; None keeps them for ever. How
    long traffic data must and may be kept is a question of law."""
    retry_max_s: float = 5.0
    """Longest pause between attempts while the database is away; the first is 0.05 s, doubled each time."""
    notify_interval_s: float = 0.25
    """At most so often are followers of the usage log woken by commits."""
