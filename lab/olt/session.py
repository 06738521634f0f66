"""One NETCONF session: XML in, XML out. Dispatches RPCs to the OLT (RFC 6241 §7); opens no socket."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from lab.olt.device import DEFAULT_CONFIRM_TIMEOUT_S, Olt
from lab.olt.errors import RpcError
from lab.olt.filtering import filtered
from lab.olt.names import BASE_1_1, CAPABILITIES, NC, Element

_PARSER = {"resolve_entities": False, "no_network": True, "remove_comments": True, "remove_pis": True}


class SessionEnd(Exception):
    """The session must end: the peer closed it, or sent what no NETCONF peer sends."""


class Session:
    """`closing` is set by close-session: the caller sends the reply, then hangs up."""

    def __init__(self, olt: Olt) -> None:
        self._olt = olt
        self.number = olt.open_session()
        self.peer_is_1_1 = False
        self.closing = False
        self._rpcs: dict[str, Callable[[Element], list[Element] | None]] = {
            "get": self._get,
            "get-config": self._get_config,
            "edit-config": self._edit_config,
            "lock": lambda rpc: self._olt.lock(self.number, _store(rpc, "target")),
            "unlock": lambda rpc: self._olt.unlock(self.number, _store(rpc, "target")),
            "validate": lambda rpc: self._olt.validate(_store(rpc, "source")),
            "discard-changes": lambda _: self._olt.discard(self.number),
            "commit": self._commit,
            "cancel-commit": lambda rpc: self._olt.cancel_commit(self.number, _text(rpc, "persist-id")),
            "close-session": self._close,
            "kill-session": self._kill,
        }

    def hello(self) -> bytes:
        root = etree.Element(_nc("hello"), nsmap={None: NC})
        capabilities = etree.SubElement(root, _nc("capabilities"))
        for capability in CAPABILITIES:
            etree.SubElement(capabilities, _nc("capability")).text = capability
        etree.SubElement(root, _nc("session-id")).text = str(self.number)
        return _octets(root)

    def greet(self, message: bytes) -> None:
        """The peer's hello. Raises SessionEnd when it is none, or the peer speaks no base version (§8.1)."""
        root = _parse(message)
        if root.tag != _nc("hello") or root.find(_nc("session-id")) is not None:
            raise SessionEnd("the first message of a client is a hello without session-id")
        said = {(c.text or "").strip() for c in root.iterfind(f"{_nc('capabilities')}/{_nc('capability')}")}
        if not said & set(CAPABILITIES[:2]):
            raise SessionEnd("the peer speaks no base version of ours")
        self.peer_is_1_1 = BASE_1_1 in said

    @staticmethod
    def name_of(message: bytes) -> str:
        """The name of the operation in a message, for faults that wait for it; empty when there is none."""
        root = _parse(message)
        return _local(root[0]) if len(root) and isinstance(root[0].tag, str) else ""

    def reply(self, message: bytes) -> bytes:
        """The rpc-reply to an rpc. Raises SessionEnd for what is not an rpc at all."""
        rpc = _parse(message)
        if rpc.tag != _nc("rpc"):
            raise SessionEnd(f"not an rpc: {rpc.tag}")
        # §4.1: every attribute of the rpc comes back in the reply, message-id among them.
        reply = etree.Element(_nc("rpc-reply"), dict(rpc.attrib), nsmap={**rpc.nsmap, None: NC})
        name, outcome = "", "ok"
        try:
            if rpc.get("message-id") is None:
                raise RpcError(
                    "missing-attribute", "rpc without message-id", type="rpc", info={"bad-attribute": "message-id"}
                )
            operation = next((c for c in rpc if isinstance(c.tag, str)), None)
            if operation is None:
                raise RpcError("missing-element", "rpc without operation", type="protocol")
            name = _local(operation)
            data = self._handler(operation, name)(operation)
            if data is None:
                etree.SubElement(reply, _nc("ok"))
            else:
                etree.SubElement(reply, _nc("data")).extend(data)
        except RpcError as error:
            outcome = error.tag
            reply.append(error.element())
        self._olt.note(self.number, name, outcome)
        return _octets(reply)

    def _handler(self, operation: Element, name: str) -> Callable[[Element], list[Element] | None]:
        handler = self._rpcs.get(name)
        if handler is None or etree.QName(operation).namespace != NC:
            raise RpcError("operation-not-supported", f"{operation.tag} is not supported", type="protocol")
        return handler

    def _get(self, rpc: Element) -> list[Element]:
        subtree = _filter(rpc)
        state = self._olt.operational.state(self._olt.running)
        return filtered(self._olt.running, subtree) + filtered(state, subtree)

    def _get_config(self, rpc: Element) -> list[Element]:
        return filtered(self._olt.config(_store(rpc, "source")), _filter(rpc))

    def _edit_config(self, rpc: Element) -> None:
        if _store(rpc, "target") != "candidate":
            raise RpcError("operation-not-supported", "running is not writable: edit the candidate", type="protocol")
        config = rpc.find(_nc("config"))
        if config is None:
            raise RpcError(
                "missing-element", "edit-config without config", type="protocol", info={"bad-element": "config"}
            )
        default_operation = _choice(rpc, "default-operation", ("merge", "replace", "none"))
        test_option = _choice(rpc, "test-option", ("test-then-set", "set", "test-only"))
        # continue-on-error would leave halves behind; all errors roll the edit back.
        _choice(rpc, "error-option", ("rollback-on-error", "stop-on-error"))
        self._olt.edit(self.number, config, default_operation, test_option)

    def _commit(self, rpc: Element) -> None:
        timeout = _text(rpc, "confirm-timeout") or str(DEFAULT_CONFIRM_TIMEOUT_S)
        if not timeout.isdigit() or int(timeout) < 1:
            raise RpcError("invalid-value", "confirm-timeout is seconds, at least 1", type="protocol")
        self._olt.commit(
            self.number,
            confirmed=rpc.find(_nc("confirmed")) is not None,
            timeout_s=int(timeout),
            persist=_text(rpc, "persist"),
            persist_id=_text(rpc, "persist-id"),
        )

    def _close(self, rpc: Element) -> None:
        self._olt.close_session(self.number)
        self.closing = True

    def _kill(self, rpc: Element) -> None:
        victim = _text(rpc, "session-id") or ""
        if not victim.isdigit():
            raise RpcError("missing-element", "kill-session without session-id", type="protocol")
        self._olt.kill_session(self.number, int(victim))


def _parse(message: bytes) -> Element:
    try:
        root = etree.fromstring(message.strip(), etree.XMLParser(**_PARSER))
    except etree.XMLSyntaxError as error:
        raise SessionEnd(f"not well-formed: {error}") from error
    return root


def _octets(root: Element) -> bytes:
    octets: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return octets


def _nc(name: str) -> str:
    return f"{{{NC}}}{name}"


def _local(element: Element) -> str:
    name: str = etree.QName(element).localname
    return name


def _text(rpc: Element, name: str) -> str | None:
    text: str | None = rpc.findtext(_nc(name))
    return text.strip() if text is not None else None


def _choice(rpc: Element, name: str, allowed: tuple[str, ...]) -> str:
    value = _text(rpc, name) or allowed[0]
    if value not in allowed:
        raise RpcError("invalid-value", f"{name} {value!r} is none of {', '.join(allowed)}", type="protocol")
    return value


def _store(rpc: Element, role: str) -> str:
    element = rpc.find(_nc(role))
    names = [_local(c) for c in element] if element is not None else []
    if len(names) != 1:
        raise RpcError("missing-element", f"{role} names one datastore", type="protocol", info={"bad-element": role})
    if names[0] not in ("running", "candidate"):
        raise RpcError("invalid-value", f"there is no datastore {names[0]!r}", type="protocol")
    return names[0]


def _filter(rpc: Element) -> Element | None:
    subtree = rpc.find(_nc("filter"))
    if subtree is not None and subtree.get("type", subtree.get(_nc("type"), "subtree")) != "subtree":
        raise RpcError("operation-not-supported", "only subtree filters: no :xpath capability", type="protocol")
    return subtree
