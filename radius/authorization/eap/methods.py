"""Which EAP methods this site serves, by the names its settings use.

Those inside TLS need certificates: without a directory of them they are left out. EAP-TLS is proposed while there is a
client CA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.domain.errors import RuleError
from radius.authorization.directory import Find
from radius.authorization.eap import md5, mschapv2, peap, tls, ttls
from radius.authorization.eap.certificates import Certificates
from radius.authorization.eap.method import Offer
from radius.authorization.eap.packet import MD5_CHALLENGE, MSCHAPV2, PEAP, TLS, TTLS
from radius.authorization.password import CLEAR, FORMS, NT

_LEAST = {"md5": CLEAR, "mschapv2": NT, "peap": NT}
"""The poorest form of a password that a method can do with; the others serve every form, or need none."""
_TYPES = {"peap": PEAP, "ttls": TTLS, "tls": TLS, "mschapv2": MSCHAPV2, "md5": MD5_CHALLENGE}


def methods(
    names: Sequence[str], find: Find, certificates: Certificates | None = None, *, needs_binding: bool = False
) -> Mapping[int, Offer]:
    """Type → factory, in the order of `names`, which is the order of proposal. Raises RuleError for an unknown name.

    `needs_binding` refuses peers of PEAP that leave crypto binding out.
    """
    unknown = [name for name in names if name not in _TYPES]
    if unknown:
        raise RuleError(f"no EAP method {', '.join(unknown)}; known: {', '.join(_TYPES)}")
    factories: dict[str, Offer] = {"md5": md5.factory(find), "mschapv2": mschapv2.factory(find)}
    if certificates is not None:
        factories |= _inside_tls(find, certificates, needs_binding=needs_binding)
    return {_TYPES[name]: factories[name] for name in names if name in factories}


def unserved(names: Sequence[str], form: str) -> list[str]:
    """Which of these methods fail for every password that is kept as `form`."""
    return [name for name in names if name in _LEAST and FORMS.index(form) > FORMS.index(_LEAST[name])]


def _inside_tls(find: Find, certificates: Certificates, *, needs_binding: bool) -> dict[str, Offer]:
    inner = mschapv2.factory(find)
    return {
        "peap": peap.factory(inner, certificates, needs_binding=needs_binding),
        "ttls": ttls.factory(find, inner, certificates),
        "tls": tls.factory(find, certificates),
    }
