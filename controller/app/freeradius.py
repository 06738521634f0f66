"""`headend import freeradius`: the import with the services of the RADIUS room on the data of this machine."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy.exc import OperationalError, ProgrammingError

from controller.app.settings import Settings
from controller.domain.clock import SystemClock
from controller.domain.errors import RuleError
from controller.domain.service import SpeedProfile
from controller.store import secrets
from controller.store.engine import Database
from controller.store.secrets import SecretBox
from controller.store.usage_log import UsageLog
from radius.accounting.recorder import AccountingRecorder
from radius.accounting.views import SessionRepository
from radius.freeradius import report, speeds
from radius.freeradius.importer import Importer
from radius.freeradius.source import Source
from radius.room import RadiusRoom
from radius.settings import RadiusSettings

_SPEED = re.compile(r"(\d+)([kMG]?)/(\d+)([kMG]?)")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


async def bring(settings: Settings, url: str, speed: str, actor: str, *, zone: str | None = None, dry_run: bool) -> str:
    """The report. A running controller takes over what was imported within a second. Raises RuleError.

    `zone` is that of times in radacct that are written without one; None is the entity's.
    """
    source, unshaped, written_in = Source(url), _profile(speed), _zone(zone or settings.entity_zone)
    if not settings.data_dir.is_dir():
        raise RuleError(f"{settings.data_dir} is not there: headend migrate, or headend serve, makes it")
    box = secrets.load_or_create(settings.data_dir / "headend.key")
    database, clock = Database(settings.url), SystemClock()
    log = UsageLog(database, "import")
    try:
        # Its ports are never opened, and nothing is recorded: the room is its services here.
        room = RadiusRoom(
            database,
            clock,
            box,
            RadiusSettings(password_form=settings.password_form),
            recorder=AccountingRecorder(database, clock, log, lambda _username: None),
            sessions=SessionRepository(database),
        )
        await room.follower.refresh_nas()
        outcome = await importer(database, box, room, written_in).run(source, unshaped, actor=actor, dry_run=dry_run)
    except (OperationalError, ProgrammingError) as error:
        raise RuleError(f"the database cannot be used (headend migrate brings it up to date): {error.orig}") from None
    finally:
        await log.close()
        await database.close()
    return f"{report.text(outcome, source.shown, dry_run=dry_run)}\nTimes without a zone were taken for {written_in}."


def importer(database: Database, box: SecretBox, room: RadiusRoom, zone: tzinfo = UTC) -> Importer:
    return Importer(database, box, room.registry, room.nas, room.subscribers, room.access, zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise RuleError(f"{name!r} is no IANA time zone such as Europe/Berlin") from None


def _profile(text: str) -> SpeedProfile:
    match = _SPEED.fullmatch(text)
    if match is None or int(match[1]) == 0 or int(match[3]) == 0:
        raise RuleError(f"{text!r} is no speed; write DOWN/UP in bit/s like 100M/20M")
    return speeds.profile(int(match[1]) * _FACTORS[match[2]], int(match[3]) * _FACTORS[match[4]])
