"""Factur-X (ZUGFeRD): the PDF that people read, with the same invoice as CII inside it for machines.

The PDF is the one that was handed out; the XML is attached to it, with the metadata that tells readers so. It is made
to the rules of PDF/A-3 level B (ISO 19005-3): every font is in it, its colours have an output intent, and what its
information dictionary says its XMP metadata say, too.
"""

from __future__ import annotations

import io

from PIL import ImageCms
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DecodedStreamObject, DictionaryObject, NameObject, NumberObject, TextStringObject

from erp.finance.einvoice import cii
from erp.finance.einvoice.model import EInvoice


def render(document: EInvoice, pdf: bytes, *, language: str) -> bytes:
    """`language` is a BCP 47 tag of the PDF."""
    from facturx import generate_from_binary  # a third of a second, for who asks for one

    kind = {"381": "Credit note", "383": "Debit note"}.get(document.type_code, "Invoice")
    made = generate_from_binary(
        _with_colours(pdf),
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


def _with_colours(pdf: bytes) -> bytes:
    """With an output intent: its red, green and blue are those of sRGB (ISO 19005-3, 6.2.3)."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.pdf_header = "%PDF-1.7"
    writer.add_metadata({"/Producer": "pypdf"})
    plain = DecodedStreamObject()
    plain.set_data(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile = plain.flate_encode()
    profile[NameObject("/N")] = NumberObject(3)
    intent = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/OutputIntent"),
            NameObject("/S"): NameObject("/GTS_PDFA1"),
            NameObject("/OutputConditionIdentifier"): TextStringObject("sRGB IEC61966-2.1"),
            NameObject("/Info"): TextStringObject("sRGB IEC61966-2.1"),
            NameObject("/DestOutputProfile"): writer._add_object(profile),
        }
    )
    writer._root_object[NameObject("/OutputIntents")] = ArrayObject([writer._add_object(intent)])
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()
