"""The objects we poll, by name, and the way from any other name to its OID.

The constants are IF-MIB (RFC 2863) and SNMPv2-MIB (RFC 3418). `resolve` asks pysnmp's compiled MIBs, which know the
core modules and whatever else was compiled for pysnmp; it is imported on first use, because that takes a while.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from controller.domain.errors import RuleError

SYS_UPTIME = "1.3.6.1.2.1.1.3.0"
IF_NUMBER = "1.3.6.1.2.1.2.1.0"

_IF = "1.3.6.1.2.1.2.2.1"
IF_TYPE = f"{_IF}.3"
IF_OPER_STATUS = f"{_IF}.8"
IF_IN_OCTETS = f"{_IF}.10"
IF_OUT_OCTETS = f"{_IF}.16"

_IFX = "1.3.6.1.2.1.31.1.1.1"
IF_NAME = f"{_IFX}.1"
IF_HC_IN_OCTETS = f"{_IFX}.6"
IF_HC_OUT_OCTETS = f"{_IFX}.10"
IF_HIGH_SPEED = f"{_IFX}.15"
IF_DISCONTINUITY = f"{_IFX}.19"


def resolve(name: str) -> str:
    """The OID of "MODULE::object", with what follows the object kept: "SNMPv2-MIB::sysUpTime.0".

    Raises RuleError for a module or object that pysnmp has no compiled MIB of.
    """
    module, _, rest = name.partition("::")
    symbol, dot, instance = rest.partition(".")
    from pysnmp.smi.error import SmiError

    try:
        (found,) = _builder().import_symbols(module, symbol)
    except SmiError as error:
        raise RuleError(f"no compiled MIB knows {name}", code="mib-name") from error
    return ".".join(str(arc) for arc in found.name) + dot + instance


@cache
def _builder() -> Any:
    from pysnmp.smi.builder import MibBuilder

    return MibBuilder()
