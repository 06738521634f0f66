"""An import in words: what became what, what did not and why, how passwords and secrets stand."""

from __future__ import annotations

from controller.domain.terminal import plain
from radius.freeradius.importer import Outcome
from radius.freeradius.model import names


def text(outcome: Outcome, source: str, *, dry_run: bool) -> str:
    """No password and no secret is in it."""
    findings, sessions = outcome.wanted.findings, outcome.sessions
    lines = [f"{'Would import' if dry_run else 'Imported'} from {source}:"]
    lines += [f"  {count:>8}  {what}" for what, count in sorted(outcome.done.items())]
    lines += [f"  {sessions.imported:>8}  sessions of the past, {sessions.octets} octets; they are not billed"]
    if sessions.known:
        lines.append(f"  {sessions.known:>8}  sessions imported before")
    if sessions.moved:
        lines.append(f"  {sessions.moved:>8}  sessions imported before, with times of another zone: put right")
    if sessions.still_open:
        lines.append(f"  {sessions.still_open:>8}  sessions still open there: their next record opens them here")
    lines += [f"  {count:>8}  sessions left: {why}" for why, count in sorted(sessions.left.items())]
    lines += _section("What became what:", findings.mapped)
    lines += _section("Passwords:", findings.passwords)
    if findings.remarks:
        lines += ["What has no counterpart, or wants a look:"]
        lines += [f"  {len(who):>8}  {what}: {names(who)}" for what, who in sorted(findings.remarks.items())]
    if dry_run:
        lines.append("Nothing was written.")
    return "\n".join(map(plain, lines))


def _section(title: str, counts: dict[str, int]) -> list[str]:
    return [title, *(f"  {count:>8}  {what}" for what, count in sorted(counts.items()))] if counts else []
