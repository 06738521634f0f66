"""What came of bank files and of archives of them, as the API says it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from controller.http.models import Out
from erp.payments.bank.reading import Imported, Member


class FileQuery(BaseModel):
    """The file's name, for people."""

    name: Annotated[str, Field(max_length=120)] = ""

    model_config = ConfigDict(extra="forbid")


class ImportedOut(Out):
    """What came of a file. `is_new` is false where all of it was known; `matched` lines were booked at once."""

    file_id: str
    kind: str
    is_new: bool
    statements: int
    lines: int
    matched: int
    notes: list[str]

    @classmethod
    def of(cls, found: Imported) -> ImportedOut:
        plain = {name: getattr(found, name) for name in cls.model_fields if name != "notes"}
        return cls(notes=list(found.notes), **plain)


class MemberOut(Out):
    """A file of an archive: what came of it, how many items a pain.002 `rejected`, or why it was `refused`."""

    name: str
    imported: ImportedOut | None
    refused: str
    rejected: int | None

    @classmethod
    def of(cls, found: Member) -> MemberOut:
        imported = None if found.imported is None else ImportedOut.of(found.imported)
        return cls(name=found.name, imported=imported, refused=found.refused, rejected=found.rejected)


class ArchiveOut(Out):
    files: list[MemberOut]
