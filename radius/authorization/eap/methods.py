"""Which EAP methods this site serves, by the names its settings use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.errors import RuleError
from radius.authorization.directory import Find
from radius.authorization.eap import md5
from radius.authorization.eap.method import MethodFactory
from radius.authorization.eap.packet import MD5_CHALLENGE

_TYPES = {"md5": MD5_CHALLENGE}


def methods(names: Sequence[str], find: Find) -> Mapping[int, MethodFactory]:
    """Type → factory, in the order of `names`, which is the order of proposal. Raises RuleError for an unknown name."""
    factories = {"md5": md5.factory(find)}
    unknown = [name for name in names if name not in factories]
    if unknown:
        raise RuleError(f"no EAP method {', '.join(unknown)}; known: {', '.join(factories)}")
    return {_TYPES[name]: factories[name] for name in names}
