"""EAP methods inside TLS against wpa_supplicant's own peer, which checks our certificate and derives the same keys."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.store.engine import Database
from radius.authorization.eap.packet import IDENTITY, RESPONSE, EapPacket
from radius.protocol.authenticator import SharedSecret
from radius.protocol.codes import ACCESS_CHALLENGE, Attr
from radius.protocol.packet import attribute
from tests.support.eapol import EAPOL_TEST, MISSING, Outcome, eapol_test, network
from tests.support.pki import DAY, Authority, Issued, eap_directory
from tests.support.radius import EPHEMERAL, SECRET, RunningRoom, running_room

pytestmark = pytest.mark.skipif(EAPOL_TEST is None, reason=MISSING)

VERSIONS = ("1.2", "1.3")
ONLY = {
    f"1.{wanted}": " ".join(f"tls_disable_tlsv1_{minor}={int(minor != wanted)}" for minor in range(4))
    for wanted in range(4)
}
"""wpa_supplicant's phase1 options that leave it one version of TLS."""


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    return sqlite_database


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def serving(database: Database, directory: Path, **settings: object) -> AsyncIterator[RunningRoom]:
    """A room that offers what is in directory/eap; `settings` are further ones of it."""
    made = replace(EPHEMERAL, eap_dir=directory / "eap", **settings)  # type: ignore[arg-type]
    async with running_room(database, directory, made) as running:
        yield running


async def tls_login(
    running: RunningRoom, directory: Path, client: Issued, version: str = "1.2", **more: str | int
) -> Outcome:
    certificate, key = client.write(directory, "client")
    more.setdefault("ca_cert", str(directory / "eap" / "ca.pem"))
    block = network(
        "TLS",
        "anonymous",
        client_cert=str(certificate),
        private_key=str(key),
        phase1=ONLY[version],
        **more,
    )
    return await eapol_test(directory, running.room.listener.auth_port, block)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fragment_size", [1398, 150])
async def test_eap_tls_accepts_a_client_of_our_ca(
    database: Database, tmp_path: Path, authority: Authority, version: str, fragment_size: int
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        client = authority.issue("anna")
        outcome = await tls_login(running, tmp_path, client, version, fragment_size=fragment_size)
        assert outcome.accepted, outcome.output
        assert outcome.keys_match, outcome.output


async def tunnel_login(
    running: RunningRoom,
    directory: Path,
    eap: str,
    phase2: str,
    version: str = "1.2",
    *,
    identity: str = "anna",
    password: str = "hunter2",
    phase1: str = "",
    ca: Path | None = None,
    **more: str | int,
) -> Outcome:
    block = network(
        eap,
        identity,
        password=password,
        anonymous_identity="anonymous@example.net",
        ca_cert=str(ca or directory / "eap" / "ca.pem"),
        phase1=f"{ONLY[version]} {phase1}".strip(),
        phase2=phase2,
        **more,
    )
    return await eapol_test(directory, running.room.listener.auth_port, block)


INNER = [
    ("TTLS", "auth=PAP"),
    ("TTLS", "auth=CHAP"),
    ("TTLS", "auth=MSCHAPV2"),
    ("TTLS", "autheap=MSCHAPV2"),
    ("PEAP", "auth=MSCHAPV2"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("eap", "phase2"), INNER)
async def test_a_right_password_inside_a_tunnel_is_accepted_and_a_wrong_one_is_not(
    database: Database, tmp_path: Path, authority: Authority, version: str, eap: str, phase2: str
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        outcome = await tunnel_login(running, tmp_path, eap, phase2, version, fragment_size=300)
        assert outcome.accepted, outcome.output
        assert outcome.keys_match, outcome.output
        refused = await tunnel_login(running, tmp_path, eap, phase2, version, password="wrong")
        assert not refused.accepted
        assert "Access-Reject" in refused.output
        unknown = await tunnel_login(running, tmp_path, eap, phase2, version, identity="nobody")
        assert not unknown.accepted


@pytest.mark.parametrize("binding", [0, 2], ids=["without", "required"])
@pytest.mark.parametrize("version", VERSIONS)
async def test_peap_is_bound_to_its_tunnel_where_the_peer_takes_part(
    database: Database, tmp_path: Path, authority: Authority, version: str, binding: int
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        outcome = await tunnel_login(
            running, tmp_path, "PEAP", "auth=MSCHAPV2", version, phase1=f"crypto_binding={binding}"
        )
        assert outcome.accepted, outcome.output
        assert outcome.keys_match, outcome.output


@pytest.mark.parametrize("version", VERSIONS)
async def test_peap_without_binding_is_refused_where_it_is_required(
    database: Database, tmp_path: Path, authority: Authority, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path, peap_needs_binding=True) as running:
        unbound = await tunnel_login(running, tmp_path, "PEAP", "auth=MSCHAPV2", version, phase1="crypto_binding=0")
        assert not unbound.accepted
        assert "leaves crypto binding out" in _refusals(capsys)
        assert running.room.counters.rejects == {("bras", "crypto binding"): 1}
        bound = await tunnel_login(running, tmp_path, "PEAP", "auth=MSCHAPV2", version, phase1="crypto_binding=2")
        assert bound.accepted, bound.output


async def test_a_site_may_ask_for_tls_1_3(
    database: Database, tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path, eap_tls_minimum="1.3") as running:
        assert not (await tunnel_login(running, tmp_path, "TTLS", "auth=PAP", "1.2")).accepted
        assert "TLS: unsupported protocol" in _refusals(capsys)
        assert (await tunnel_login(running, tmp_path, "TTLS", "auth=PAP", "1.3")).accepted
        assert not (await tls_login(running, tmp_path, authority.issue("anna"), "1.2")).accepted


def _refusals(capsys: pytest.CaptureFixture[str]) -> str:
    """What the log says of refused logins so far."""
    return "\n".join(line for line in capsys.readouterr().out.splitlines() if "radius.reject" in line)


@pytest.mark.parametrize("version", VERSIONS)
async def test_eap_tls_refuses_whoever_our_ca_does_not_vouch_for(
    database: Database, tmp_path: Path, authority: Authority, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    revoked = authority.issue("anna")
    eap_directory(tmp_path / "eap", authority, crl=authority.revocations(revoked))
    strangers = {
        "it is revoked": revoked,
        "it has expired": authority.issue("anna", begins=-2 * DAY, ends=-DAY),
        "not valid yet": authority.issue("anna", begins=DAY, ends=2 * DAY),
        "not issued by our CA": Authority("Another CA").issue("anna"),
        "not made for client authentication": authority.issue("anna", usage=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "names no subscriber: nobody": authority.issue("nobody"),
    }
    async with serving(database, tmp_path) as running:
        for reason, client in strangers.items():
            outcome = await tls_login(running, tmp_path, client, version)
            assert not outcome.accepted
            assert "Access-Reject" in outcome.output
            assert reason in _refusals(capsys)
        assert (await tls_login(running, tmp_path, authority.issue("anna"), version)).accepted


async def test_a_revocation_counts_from_the_next_login_on(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    client = authority.issue("cpe-4711", alternative=[x509.RFC822Name("anna")])
    directory = eap_directory(tmp_path / "eap", authority, crl=authority.revocations())
    async with serving(database, tmp_path) as running:
        assert (await tls_login(running, tmp_path, client)).accepted
        (directory / "crl.pem").write_bytes(authority.revocations(client))
        assert not (await tls_login(running, tmp_path, client)).accepted


async def test_the_first_client_ca_is_taken_up_without_a_restart(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    directory = eap_directory(tmp_path / "eap", authority)
    ca = (directory / "ca.pem").read_bytes()
    (directory / "ca.pem").unlink()
    async with serving(database, tmp_path) as running:
        (tmp_path / "ca.pem").write_bytes(ca)
        client = authority.issue("anna")
        refused = await tls_login(running, tmp_path, client, ca_cert=str(tmp_path / "ca.pem"))
        assert not refused.accepted
        assert "Access-Reject" in refused.output
        (directory / "ca.pem").write_bytes(ca)
        assert (await tls_login(running, tmp_path, client)).accepted


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_device_that_does_not_know_our_ca_says_so(
    database: Database, tmp_path: Path, authority: Authority, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    eap_directory(tmp_path / "eap", authority)
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("Another CA").pem)
    async with serving(database, tmp_path) as running:
        outcome = await tunnel_login(running, tmp_path, "PEAP", "auth=MSCHAPV2", version, ca=other)
        assert not outcome.accepted
        assert "the peer refuses our certificate or parameters: TLS tlsv1 alert unknown ca" in _refusals(capsys)


async def test_tls_1_1_is_refused(
    database: Database, tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        # This peer ends without another word: the reason is known when our alert is sent.
        outcome = await tunnel_login(running, tmp_path, "PEAP", "auth=MSCHAPV2", "1.1")
        assert not outcome.accepted
        said = _refusals(capsys)
        assert "TLS: unsupported protocol" in said, said + outcome.output


async def test_the_name_inside_is_the_one_accounted_and_the_one_outside_is_anybody_s(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        outcome = await tunnel_login(running, tmp_path, "TTLS", "auth=PAP")
        accept = outcome.output.split("code=2 (Access-Accept)", 1)[1]
        assert "Attribute 1 (User-Name) length=6\n      Value: 'anna'" in accept
        assert "hunter2" not in accept


async def test_a_chain_of_large_certificates_comes_in_fragments_that_the_link_carries(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    """Framed-MTU 300 says what the link to the peer carries (RFC 3579 §2.4)."""
    key = rsa.generate_private_key(65_537, 3_072)
    eap_directory(tmp_path / "eap", authority, server=authority.issue("radius", server=True, key=key))
    async with serving(database, tmp_path) as running:
        block = network("TTLS", "anna", password="hunter2", phase2="auth=PAP", ca_cert=str(tmp_path / "eap/ca.pem"))
        outcome = await eapol_test(tmp_path, running.room.listener.auth_port, block, "-N12:d:300")
        assert outcome.accepted, outcome.output
        lengths = [
            int(found) for found in re.findall(r"decapsulated EAP packet \(code=1 id=\d+ len=(\d+)\)", outcome.output)
        ]
        assert max(lengths) <= 296
        assert sum(length > 290 for length in lengths) >= 3


async def test_eap_without_message_authenticator_gets_silence(
    database: Database, tmp_path: Path, authority: Authority
) -> None:
    """RFC 3579 §3.1, whatever the NAS is registered with."""
    eap_directory(tmp_path / "eap", authority)
    async with serving(database, tmp_path) as running:
        identity = EapPacket(RESPONSE, 1, IDENTITY, b"anna").encode()
        attributes = attribute(Attr.USER_NAME, b"anna") + attribute(Attr.EAP_MESSAGE, identity)
        secret = SharedSecret(SECRET)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.setblocking(False)
            nas.connect(("127.0.0.1", running.room.listener.auth_port))
            nas.send(secret.access_request(1, bytes(16), attributes, signed=False))
            # Answered in its order: what comes first is the answer to the second.
            nas.send(secret.access_request(2, bytes(16), attributes))
            loop = asyncio.get_running_loop()
            answer = await asyncio.wait_for(loop.sock_recv(nas, 4_096), 5)
        assert (answer[0], answer[1]) == (ACCESS_CHALLENGE, 2)
        assert running.room.counters.total("message-authenticator-missing") == 1
