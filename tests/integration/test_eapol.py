"""EAP methods inside TLS against wpa_supplicant's own peer, which checks our certificate and derives the same keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from controller.store.engine import Database
from tests.support.eapol import EAPOL_TEST, MISSING, Outcome, eapol_test, network
from tests.support.pki import Authority, Issued, eap_directory
from tests.support.radius import EPHEMERAL, RunningRoom, running_room

pytestmark = pytest.mark.skipif(EAPOL_TEST is None, reason=MISSING)

VERSIONS = {
    version: " ".join(f"tls_disable_tlsv1_{minor}={int(minor != only)}" for minor in range(4))
    for version, only in (("1.2", 2), ("1.3", 3))
}
"""wpa_supplicant's phase1 options that leave it one version of TLS."""


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    return sqlite_database


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def serving(database: Database, directory: Path) -> AsyncIterator[RunningRoom]:
    async with running_room(database, directory, replace(EPHEMERAL, eap_dir=directory / "eap")) as running:
        yield running


async def tls_login(
    running: RunningRoom, directory: Path, client: Issued, version: str = "1.2", **more: str | int
) -> Outcome:
    certificate, key = client.write(directory, "client")
    block = network(
        "TLS",
        "anonymous",
        ca_cert=str(directory / "eap" / "ca.pem"),
        client_cert=str(certificate),
        private_key=str(key),
        phase1=VERSIONS[version],
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
