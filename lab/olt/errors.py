"""rpc-error as a Python exception (RFC 6241 §4.3 and appendix A)."""

from __future__ import annotations

from collections.abc import Mapping

from lxml import etree

from lab.olt.names import NC, Element


class RpcError(Exception):
    """Refusal of one RPC. `path` is the XPath of the node at fault, prefixes as in `names.PREFIXES`."""

    def __init__(
        self,
        tag: str,
        message: str,
        *,
        type: str = "application",
        path: str | None = None,
        app_tag: str | None = None,
        info: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{tag}: {message}")
        self.tag = tag
        self.message = message
        self.type = type
        self.path = path
        self.app_tag = app_tag
        self.info = dict(info or {})

    def element(self) -> Element:
        error = etree.Element(f"{{{NC}}}rpc-error", nsmap={None: NC})
        self._add(error, "error-type", self.type)
        self._add(error, "error-tag", self.tag)
        self._add(error, "error-severity", "error")
        if self.app_tag:
            self._add(error, "error-app-tag", self.app_tag)
        if self.path:
            self._add(error, "error-path", self.path)
        self._add(error, "error-message", self.message)
        if self.info:
            info = etree.SubElement(error, f"{{{NC}}}error-info")
            for name, value in self.info.items():
                self._add(info, name, value)
        return error

    @staticmethod
    def _add(parent: Element, name: str, text: str) -> None:
        etree.SubElement(parent, f"{{{NC}}}{name}").text = text


def lock_denied(holder: int) -> RpcError:
    """The lock belongs to another session; 0 when the holder is not a NETCONF session (RFC 6241 §7.5)."""
    return RpcError(
        "lock-denied",
        f"the lock is held by session {holder}" if holder else "the candidate holds changes of a session that is gone",
        type="protocol",
        info={"session-id": str(holder)},
    )
