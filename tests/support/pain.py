"""What a bank answers to a direct debit file: a pain.002 that rejects some of it, or all."""

from __future__ import annotations


def rejection(message_id: str, *items: str, group: str = "PART", block: str = "", reason: str = "AC01") -> bytes:
    inner = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{i}</OrgnlEndToEndId><TxSts>RJCT</TxSts>"
        f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf></TxInfAndSts>"
        for i in items
    )
    state = f"<OrgnlPmtInfId>{block}</OrgnlPmtInfId>" + ("<PmtInfSts>RJCT</PmtInfSts>" if block else "")
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        "<GrpHdr><MsgId>a</MsgId></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId><GrpSts>{group}</GrpSts></OrgnlGrpInfAndSts>"
        f"<OrgnlPmtInfAndSts>{state}{inner}</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"
    ).encode()
