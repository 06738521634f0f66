"""Factur-X (ZUGFeRD): the PDF that people read, with the same invoice as CII inside it for machines.

The PDF is the one that was handed out; the XML is attached to it, with the metadata that tells readers so.
"""

from __future__ import annotations

from erp.finance.einvoice import cii
from erp.finance.einvoice.model import EInvoice


def render(document: EInvoice, pdf: bytes, *, language: str) -> bytes:
    """`language` is a BCP 47 tag of the PDF."""
    from facturx import generate_from_binary  # a third of a second, for who asks for one

    kind = "Credit note" if document.is_credit_note else "Invoice"
    made = generate_from_binary(
        pdf,
        cii.render(document),
        flavor="factur-x",
        level="en16931",
        check_xsd=False,  # tests do, against the schema and the schematron
        lang=language,
        pdf_metadata={
            "author": document.seller.name,
            "keywords": f"{kind}, Factur-X",
            "title": f"{document.seller.name}: {kind} {document.number}",
            "subject": f"{kind} {document.number} of {document.issued_on.isoformat()}",
        },
    )
    return bytes(made)
