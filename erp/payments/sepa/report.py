"""What a bank answers to a file: pain.002, the payment status report. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from erp.payments import xml
from erp.payments.errors import FileRefused

_HEAD = 4096


@dataclass(frozen=True, slots=True)
class Rejected:
    """A transaction that is not done; `reason` is an ISO 20022 code such as AC04."""

    end_to_end: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """About the file `message_id`. `all_rejected` says that nothing of it is done, with `reason`."""

    message_id: str
    all_rejected: bool
    reason: str
    rejected: tuple[Rejected, ...]
    blocks: tuple[tuple[str, str], ...]
    """Payment blocks that were rejected as a whole: (their id, reason)."""


def is_report(raw: bytes) -> bool:
    """Whether it says that it is one: its namespace names the message."""
    return b"pain.002" in raw[:_HEAD]


def parse(raw: bytes, limit: int) -> Report:
    """Raises FileRefused."""
    root = xml.parse(raw, limit)
    body = xml.one(root, "CstmrPmtStsRpt")
    if body is None:
        raise FileRefused("this is no pain.002")
    group = xml.one(body, "OrgnlGrpInfAndSts")
    message_id = "" if group is None else xml.text(group, "OrgnlMsgId")
    if group is None or not message_id:
        raise FileRefused("the report does not say which file it is about")
    blocks: list[tuple[str, str]] = []
    rejected: list[Rejected] = []
    for block in xml.all_of(body, "OrgnlPmtInfAndSts"):
        found = [one for one in xml.all_of(block, "TxInfAndSts") if xml.text(one, "TxSts") == "RJCT"]
        if xml.text(block, "PmtInfSts") == "RJCT" and not found:
            # It may list transactions all the same, for what they were: the status is that of the block.
            blocks.append((xml.text(block, "OrgnlPmtInfId"), _reason(block)))
        rejected += [Rejected(xml.text(one, "OrgnlEndToEndId"), _reason(one)) for one in found]
    whole = xml.text(group, "GrpSts") == "RJCT" and not blocks and not rejected
    return Report(message_id, whole, _reason(group), tuple(rejected), tuple(blocks))


def _reason(element: object) -> str:
    return xml.text(element, "StsRsnInf/Rsn/Cd", "StsRsnInf/Rsn/Prtry")[:40] or "not told"
