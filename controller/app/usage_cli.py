"""`headend usage …`: sources of usage, files of call records, and the ledger of what became of it all.

All of it asks a running controller over its API, with the caller's token. A large file is sent in parts; what was taken
before a connection broke is known again, so the same file is simply imported once more.
"""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from controller.app.remote import Json, opened
from controller.domain.errors import RuleError

usage_app = typer.Typer(no_args_is_help=True, help="Usage of other sources than RADIUS, on a running controller.")

Source = Annotated[str, typer.Argument(help="Name of a source.")]
Reason = Annotated[str, typer.Option(help="For the audit log.")]

_PART = 120_000
"""Octets of a file sent at once: some hundred calls, so that accounting never waits long for the database."""
_COUNTS = ("accepted", "new", "rated", "unrated", "suspense", "duplicate")


@usage_app.command()
def sources() -> None:
    """Every source with its watermark."""
    with opened() as api:
        for row in api.get("/usage-sources")["sources"]:
            role = "retired" if row["retired_at"] else "bills" if row["bills"] else "compared"
            until = row["complete_until"] or "never"
            awaited = "awaited" if row["awaited"] else "not awaited"
            print(
                f"{row['name']:<20} {row['measure']:<7} by {row['identifier_kind']:<9} {role:<9} {awaited:<12} {until}"
            )


@usage_app.command()
def register(
    source: Source,
    title: Annotated[str, typer.Option(help="What it is.")],
    measure: Annotated[str, typer.Option(help="octets or calls.")],
    identifier: Annotated[str, typer.Option(help="What it names: username, address, phone, port or service.")],
    preset: Annotated[str, typer.Option(help="Layout of its files: asterisk, freeswitch, sip or octets.")] = "",
    compare: Annotated[bool, typer.Option(help="It is compared with what bills, and never billed.")] = False,
) -> None:
    """Make a source known. Other layouts of files: POST /api/v1/usage-sources with a mapping."""
    body: Json = {
        "name": source, "title": title, "measure": measure, "identifier_kind": identifier, "bills": not compare,
        "awaited": not compare, "preset": preset or None,
    }  # fmt: skip
    with opened() as api:
        made = api.post("/usage-sources", body)
    print(f"source {made['name']} is registered")


@usage_app.command("import")
def import_file(
    source: Source,
    file: Annotated[Path, typer.Argument(help="A CSV file.")],
    complete_until: Annotated[str, typer.Option(help="All usage before that instant is told with this file.")] = "",
) -> None:
    """Import a CSV file, each record once: what was imported before is counted as a duplicate."""
    with opened() as api:
        found = api.get(f"/usage-sources/{source}")
        if found["mapping"] is None:
            raise RuleError(f"source {source} has no mapping for files: PATCH /api/v1/usage-sources/{source} with one")
        parts = list(_parts(_text(file), header=not found["mapping"]["columns"]))
        sums = dict.fromkeys(_COUNTS, 0)
        for number, (first_line, content) in enumerate(parts, 1):
            body: Json = {"name": file.name[:200], "content": content, "first_line": first_line}
            if number == len(parts) and complete_until:
                body["complete_until"] = complete_until
            told = api.post(f"/usage-sources/{source}/files", body)
            for name in _COUNTS:
                sums[name] += told[name]
    percent = 100 * sums["duplicate"] / sums["accepted"] if sums["accepted"] else 0.0
    print(f"{file.name}: " + ", ".join(f"{sums[name]} {name}" for name in _COUNTS) + f" ({percent:.1f} % duplicates)")
    if sums["suspense"]:
        print(f"headend usage held {source} lists what waits, and why")


@usage_app.command()
def held(source: Source) -> None:
    """What of a source waits in suspense: since when, why, and which record it is."""
    with opened() as api:
        for row in api.all("/suspense", source=source):
            print(
                f"{row['suspense_id']:>8}  {row['entered_at']}  {row['reason']:<16} record {row['source_record_id']}  "
                f"{row['username'] or ''}  {row['detail'] or ''}"
            )


@usage_app.command()
def complete(
    source: Source, until: Annotated[str, typer.Argument(help="An instant with its zone.")], reason: Reason
) -> None:
    """Say that nothing more comes of before an instant, so that bill runs do not wait for it."""
    with opened() as api:
        found = api.post(f"/usage-sources/{source}/complete", {"until": until, "reason": reason})
    print(f"source {source} is complete until {found['complete_until']}")


@usage_app.command()
def owner(
    kind: Annotated[str, typer.Argument(help="username, address, phone or port.")],
    identifier: Annotated[str, typer.Argument(help="The name, address or number.")],
    since: Annotated[str, typer.Argument(help="An instant with its zone.")],
    reason: Reason,
    service: Annotated[str, typer.Option(help="Id of the service; without one it is nobody's from then on.")] = "",
    overrides: Annotated[
        bool, typer.Option("--overrides", help="Stronger than what RADIUS said of a username.")
    ] = False,
) -> None:
    """Give an identifier to a service from an instant on. What another had of it since then is moved."""
    body: Json = {
        "kind": kind, "identifier": identifier, "since": since, "service_id": service or None, "reason": reason,
        "overrides": overrides,
    }  # fmt: skip
    with opened() as api:
        found = api.post("/usage-identifiers", body)
    print(f"{found['kind']} {found['identifier']} from {found['since']}: {found['service_id'] or 'nobody'}")
    for one in found["moved"]:
        late = ", billed already: the next run corrects it" if one["adjusted"] else ""
        what = f"{one['calls']} calls of {one['duration_s']} s" if one["calls"] else f"{one['octets']} octets"
        print(
            f"moved {what} of {one['first_on']} to {one['last_on']} from {one['from_service_id']} "
            f"to {one['to_service_id'] or 'suspense'}{late}"
        )


@usage_app.command()
def owners(
    begins: Annotated[str, typer.Argument(help="How identifiers begin; else all of them.")] = "",
    kind: Annotated[str, typer.Option(help="username, address, phone or port.")] = "",
    service: Annotated[str, typer.Option(help="Id of a service: what is or was its own.")] = "",
) -> None:
    """Whose each identifier is, and since when."""
    wanted = {"begins": begins, "kind": kind, "service_id": service}
    with opened() as api:
        for row in api.all("/usage-identifiers", **{name: text for name, text in wanted.items() if text}):
            over = ", stronger than RADIUS" if row["overrides"] else ""
            print(
                f"{row['kind']:<8}  {row['identifier']}  from {row['since']}: {row['service_id'] or 'nobody'}{over}  "
                f"said by {row['mapped_by']} at {row['mapped_at']}"
            )


@usage_app.command()
def moves(
    kind: Annotated[str, typer.Argument(help="username, address, phone or port.")],
    identifier: Annotated[str, typer.Argument(help="The name, address or number.")],
) -> None:
    """What was moved from service to service by what was said of an identifier."""
    with opened() as api:
        for row in api.get("/usage-moves", kind=kind, identifier=identifier)["moves"]:
            what = f"{row['calls']} calls of {row['duration_s']} s" if row["calls"] else f"{row['octets']} octets"
            print(f"from {row['since']}: {row['service_id']}  {what}  {row['first_on']} to {row['last_on']}")


@usage_app.command()
def ledger(source: Annotated[str, typer.Argument(help="Name of a source; radius is one.")] = "") -> None:
    """What was accepted and what became of it, over all hours: accepted = rated + unrated + suspense + duplicate."""
    with opened() as api:
        for row in api.get("/usage-ledger/totals")["totals"]:
            if source in ("", row["source"]):
                counts = "  ".join(f"{name} {row[name]['records']}" for name in ("accepted", *_COUNTS[2:]))
                print(f"{row['source']:<20} {counts}  {'adds up' if row['adds_up'] else 'DOES NOT ADD UP'}")


@usage_app.command()
def check() -> None:
    """Count everything again from what is stored, and follow the hash chains. Exit code 1 when something is wrong."""
    with opened() as api:
        faults: list[Any] = api.post("/usage-ledger/check")["faults"]
    for fault in faults:
        print(fault)
    if faults:
        raise typer.Exit(1)
    print("the ledger adds up, and every record is what it was")


def _text(file: Path) -> str:
    try:
        octets = file.read_bytes()
        # Windows writes UTF-16, and says so in the first two octets.
        encoding = "utf-16" if octets[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8"
        # What cannot be decoded stays readable, as escapes, and costs no record that can: most of its line is ASCII.
        return octets.decode(encoding, errors="backslashreplace").replace("\x00", "\\x00")
    except OSError as error:
        raise RuleError(f"{file} cannot be read: {error.strerror}") from None


def _parts(text: str, *, header: bool) -> Iterator[tuple[int, str]]:
    """The number of its first line, and the text of each part; each has the header, where there is one."""
    lines = text.removesuffix("\n").split("\n")
    head = [lines.pop(0)] if header and lines else []
    if not any(line.strip() for line in lines):
        raise RuleError("the file holds no record")
    first, size, part = 0, 0, list[str]()
    for number, line in enumerate(lines):
        octets = len(line.encode()) + 1
        if part and size + octets > _PART:
            yield first + 1, "\n".join([*head, *part]) + "\n"
            first, size, part = number, 0, []
        part.append(line)
        size += octets
    yield first + 1, "\n".join([*head, *part]) + "\n"
