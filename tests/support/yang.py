"""The published YANG modules, where they are present, and yanglint to check payloads against them.

`HEADEND_SHARED` says where; by default ../shared beside the checkout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]

# Types modules first: yanglint resolves identities only in modules that are implemented by then.
MODULES = (
    "bbf-xpon-types", "bbf-if-type", "iana-if-type", "bbf-xpon-if-type", "bbf-qos-types", "bbf-dot1q-types",
    "ietf-interfaces", "bbf-xpon", "bbf-xponvani", "bbf-xpongemtcont", "bbf-sub-interfaces",
    "bbf-sub-interface-tagging", "bbf-qos-traffic-mngt", "bbf-qos-shaping",
)  # fmt: skip
STATE_MODULES = (
    "bbf-xpon-onu-types", "ietf-hardware", "bbf-hardware-transceivers", "bbf-hardware-transceivers-xpon",
    "bbf-xpon-onu-state",
)  # fmt: skip


def modules_directory() -> Path:
    return Path(os.environ.get("HEADEND_SHARED", ROOT.parent / "shared")) / "yang"


class Yanglint:
    """Validates instance data; `check` returns yanglint's complaint, empty when the data is valid."""

    def __init__(self, directory: Path, scratch: Path) -> None:
        self._directory = directory
        self._scratch = scratch

    def check(self, nodes: list[etree._Element], kind: str = "config", extra: tuple[str, ...] = ()) -> str:
        """`kind` is a yanglint data type: "config" is whole and valid, "edit" a part that need not be."""
        payload = self._scratch / "payload.xml"
        payload.write_bytes(b"\n".join(etree.tostring(node) for node in nodes))
        names = [f"{module}.yang" for module in (*extra, *MODULES)]
        result = subprocess.run(
            ["yanglint", "-Q", "-p", ".", "-i", "-t", kind, *names, payload],
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return "" if result.returncode == 0 else result.stderr or f"yanglint ended with {result.returncode}"


def without_operations(config: etree._Element) -> list[etree._Element]:
    """What an edit puts, as plain data: edit-config's own attribute is not part of the modules."""
    operation = "{urn:ietf:params:xml:ns:netconf:base:1.0}operation"
    for node in list(config.iter()):
        if node.attrib.pop(operation, "") == "remove":
            node.getparent().remove(node)
    return list(config)


@pytest.fixture
def yanglint(tmp_path: Path) -> Yanglint:
    if shutil.which("yanglint") is None:
        pytest.skip("yanglint is not installed: apt-get install libyang2-tools")
    directory = modules_directory()
    if not (directory / "bbf-xpon.yang").exists():
        pytest.skip("YANG modules absent")
    return Yanglint(directory, tmp_path)
