"""What each form of a password proves, and that none of them turns into a richer one."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.errors import RuleError
from radius.authorization import foreign
from radius.authorization.eap.methods import unserved
from radius.authorization.password import (
    ARGON2,
    CLEAR,
    FOREIGN,
    FORMS,
    NT,
    HashedPassword,
    derived,
    nt_password,
    opened,
    same,
)
from radius.protocol.authenticator import SharedSecret, chap_response
from radius.protocol.codes import Attr
from radius.protocol.packet import attribute
from radius.protocol.server import DeferredVerdict, Verdict
from tests.support.radius import SECRET, SOURCE, authentication_server, nas, subscriber

SHARED = SharedSecret(SECRET)
AUTHENTICATOR = bytes(range(16))


def pap(password: bytes) -> bytes:
    return attribute(Attr.USER_PASSWORD, SHARED.hide(password, AUTHENTICATOR))


async def login(form: str, extension: bytes) -> Verdict:
    server = authentication_server(
        nas(), subscriber(password=derived("hunter2", CLEAR, form), password_form=form), eap_methods=("md5",)
    )
    datagram = SHARED.access_request(1, AUTHENTICATOR, attribute(Attr.USER_NAME, b"anna") + extension)
    verdict = server.receive(datagram, SOURCE, 0.0)
    if not isinstance(verdict, DeferredVerdict):
        return verdict
    return server.answer(verdict, await verdict.decide(), SOURCE)


@pytest.mark.parametrize("form", FORMS)
async def test_pap_is_served_by_every_form(form: str) -> None:
    assert (await login(form, pap(b"hunter2"))).result == "accept"
    assert (await login(form, pap(b"hunter3"))).reason == "wrong password"
    assert (await login(form, pap(b""))).reason == "wrong password"


def base64_of(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


# What openssl passwd -1, -5 and -6 with -salt saltsalt made of hunter2, and perl's crypt("hunter2", "ab").
CRYPTED = [
    ("Crypt-Password", "$1$saltsalt$ZliGyAN3DciDHEkDboonh/"),
    ("Crypt-Password", "$5$saltsalt$OIdfjX.u4Y3SJ4I2bX8w5BMf1VAUhHABNUirScDzZi3"),
    (
        "Password-With-Header",
        "{CRYPT}$6$saltsalt$8iYtNHxjWRl.NF6oNZ5tF.iKFlQREaXBLlSmZKP6dy9l5z3vsooWNW0/GZ6Nej73/TFug6pIPSqbJoCT6dfnj.",
    ),
    ("Crypt-Password", "ab0ozUNIgzCZ."),
]


def hashes_of(password: bytes) -> list[tuple[str, str]]:
    """As FreeRADIUS keeps them: hexadecimal or base64, the salt behind the digest."""
    salt, pbkdf2 = b"s\x00lt", hashlib.pbkdf2_hmac("sha256", password, b"salt", 1_000)
    rounds = base64_of((1_000).to_bytes(4, "big"))
    return [
        ("MD5-Password", hashlib.md5(password, usedforsecurity=False).hexdigest()),
        ("SMD5-Password", base64_of(hashlib.md5(password + salt, usedforsecurity=False).digest() + salt)),
        ("SHA-Password", base64_of(hashlib.sha1(password, usedforsecurity=False).digest())),
        ("SSHA-Password", (hashlib.sha1(password + salt, usedforsecurity=False).digest() + salt).hex()),
        ("SHA2-Password", hashlib.sha384(password).hexdigest()),
        ("SSHA2-512-Password", base64_of(hashlib.sha512(password + salt).digest() + salt)),
        ("PBKDF2-Password", f"HMACSHA2+256:{rounds}:{base64_of(b'salt')}:{base64_of(pbkdf2)}"),
    ]


async def test_what_another_server_hashed_serves_pap_and_nothing_else() -> None:
    for attribute_name, hashed in [*hashes_of(b"hunter2"), *CRYPTED]:
        kept = foreign.kept(*foreign.opened(hashed)) if hashed.startswith("{") else foreign.kept(attribute_name, hashed)
        row = subscriber(password=kept, password_form=FOREIGN)
        server = authentication_server(nas(), row)
        for identifier, (password, result) in enumerate([(b"hunter2", "accept"), (b"hunter3", "reject")]):
            datagram = SHARED.access_request(identifier, AUTHENTICATOR, attribute(1, b"anna") + pap(password))
            verdict = server.receive(datagram, SOURCE, 0.0)
            assert isinstance(verdict, DeferredVerdict)
            assert (await verdict.decide()).result == result, attribute_name
        with pytest.raises(RuleError, match="set the password anew"):
            derived(kept, FOREIGN, ARGON2)


@given(st.sampled_from(sorted(foreign.ATTRIBUTES)), st.text(max_size=80) | st.binary(max_size=70).map(base64_of))
def test_what_is_no_hash_is_refused_and_nothing_else_is_raised(attribute_name: str, value: str) -> None:
    try:
        kept = foreign.kept(attribute_name, value)
    except RuleError:
        return
    assert not foreign.fits(kept, b"hunter2")


@pytest.mark.parametrize(("form", "reason"), [(CLEAR, ""), (NT, "CHAP needs"), (ARGON2, "CHAP needs")])
async def test_chap_is_served_by_the_clear_form_alone(form: str, reason: str) -> None:
    answer = attribute(Attr.CHAP_PASSWORD, b"\x01" + chap_response(1, b"hunter2", AUTHENTICATOR))
    verdict = await login(form, answer)
    assert verdict.result == ("reject" if reason else "accept")
    assert verdict.reason.startswith(reason)


async def test_a_hashed_password_that_was_right_once_is_decided_at_once() -> None:
    row = subscriber(password=derived("hunter2", CLEAR, ARGON2), password_form=ARGON2)
    server = authentication_server(nas(), row)
    results = []
    for identifier in (1, 2):
        datagram = SHARED.access_request(identifier, AUTHENTICATOR, attribute(1, b"anna") + pap(b"hunter2"))
        verdict = server.receive(datagram, SOURCE, 0.0)
        results.append(verdict.result)
        if isinstance(verdict, DeferredVerdict):
            assert server.answer(verdict, await verdict.decide(), SOURCE).result == "accept"
    assert results == ["deferred", "accept"]


@pytest.mark.parametrize(("form", "wanted"), [(NT, CLEAR), (ARGON2, NT), (ARGON2, CLEAR)])
def test_a_poorer_form_never_becomes_a_richer_one(form: str, wanted: str) -> None:
    kept = derived("hunter2", CLEAR, form)
    with pytest.raises(RuleError, match="set the password anew"):
        derived(kept, form, wanted)


def test_argon2_is_reached_over_the_nt_hash() -> None:
    kept = derived(derived("hunter2", CLEAR, NT), NT, ARGON2)
    assert kept.startswith("$argon2id$")
    assert same(opened(ARGON2, kept), b"hunter2")
    assert not same(opened(ARGON2, kept), b"Hunter2")


def test_no_form_shows_what_it_keeps() -> None:
    for form in (NT, ARGON2):
        kept = derived("hunter2", CLEAR, form)
        assert kept not in repr(opened(form, kept))
    assert "hunter2" not in derived("hunter2", CLEAR, NT)


def test_a_hashed_password_remembers_only_what_was_right() -> None:
    hashed = HashedPassword(derived("hunter2", CLEAR, ARGON2))
    assert not hashed.remembers(b"hunter2")
    assert not hashed.verify(b"wrong")
    assert not hashed.remembers(b"wrong")
    assert hashed.verify(b"hunter2")
    assert hashed.remembers(b"hunter2")
    assert not hashed.remembers(b"wrong")


@settings(max_examples=50)
@given(text=st.text(min_size=1, max_size=40), other=st.binary(max_size=40))
def test_the_nt_hash_tells_passwords_apart_in_any_script(text: str, other: bytes) -> None:
    kept = opened(NT, derived(text, CLEAR, NT))
    assert same(kept, text.encode())
    assert same(kept, other) == (other == text.encode())
    assert nt_password(text.encode()) is not None


def test_methods_that_a_form_cannot_serve_are_named_at_the_start() -> None:
    every = ("peap", "ttls", "tls", "mschapv2", "md5")
    assert unserved(every, CLEAR) == []
    assert unserved(every, NT) == ["md5"]
    assert unserved(every, ARGON2) == ["peap", "mschapv2", "md5"]


def test_unknown_forms_and_broken_hashes_are_refused() -> None:
    with pytest.raises(RuleError, match="known: clear, nt, argon2"):
        derived("hunter2", CLEAR, "md5")
    with pytest.raises(RuleError, match="32 hexadecimal digits"):
        opened(NT, "abc")
