"""The emulated OLT as a NETCONF server, judged by ncclient and by a base:1.0 client of bare SSH."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import pytest
from lxml import etree
from ncclient import manager
from ncclient.operations import RPCError

from lab.olt.device import OltSettings
from lab.olt.names import NC, PREFIXES
from lab.olt.server import PASSWORD, USERNAME, OltServer
from tests.support.yang import ROOT

T = TypeVar("T")

IF = PREFIXES["if"]
DESCRIBE = (
    f'<config xmlns="{NC}"><interfaces xmlns="{IF}"><interface><name>uplink-1</name><description>{{}}</description>'
    "</interface></interfaces></config>"
)


async def talk(server: OltServer, work: Callable[[Any], T]) -> T:
    """Let `work` use an ncclient manager in a thread."""

    def session() -> T:
        with manager.connect_ssh(
            "127.0.0.1", port=server.port, username=USERNAME, password=PASSWORD,
            hostkey_verify=False, allow_agent=False, look_for_keys=False, timeout=10,
        ) as client:  # fmt: skip
            return work(client)

    return await asyncio.to_thread(session)


def description(client: Any, source: str = "running") -> str | None:
    subtree = f'<interfaces xmlns="{IF}"><interface><name>uplink-1</name></interface></interfaces>'
    found = etree.fromstring(client.get_config(source, ("subtree", subtree)).data_xml.encode())
    text: str | None = found.findtext(f".//{{{IF}}}description")
    return text


def describe(client: Any, text: str) -> None:
    client.edit_config(DESCRIBE.format(text), target="candidate")


def refused(call: Callable[[], Any]) -> RPCError:
    with pytest.raises(RPCError) as caught:
        call()
    return caught.value


async def test_rfc6241_8_1_capabilities_are_offered(olt: OltServer) -> None:
    offered = await talk(olt, lambda client: set(client.server_capabilities))
    assert {c.split("?")[0].rsplit(":", 1)[0] for c in offered} >= {
        "urn:ietf:params:netconf:capability:candidate",
        "urn:ietf:params:netconf:capability:confirmed-commit",
        "urn:ietf:params:netconf:capability:validate",
        "urn:ietf:params:netconf:capability:rollback-on-error",
    }
    assert not any("writable-running" in c for c in offered)
    for module in ("bbf-xpon", "bbf-xponvani", "bbf-xpongemtcont", "ietf-interfaces", "bbf-qos-traffic-mngt"):
        assert any(f"?module={module}&" in c for c in offered)


async def test_rfc6241_8_3_candidate_is_apart_from_running_until_committed(olt: OltServer) -> None:
    def work(client: Any) -> None:
        client.lock("candidate")
        describe(client, "north")
        assert (description(client, "candidate"), description(client)) == ("north", None)
        client.discard_changes()
        assert description(client, "candidate") is None
        describe(client, "south")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="30")
        client.commit()
        client.unlock("candidate")
        assert description(client) == "south"

    await talk(olt, work)


async def test_running_is_not_writable_and_unknown_operations_are_refused(olt: OltServer) -> None:
    def work(client: Any) -> None:
        error = refused(lambda: client.edit_config(DESCRIBE.format("x"), target="running"))
        assert error.tag == "operation-not-supported"
        assert refused(lambda: client.dispatch(etree.Element(f"{{{NC}}}reboot"))).tag == "operation-not-supported"
        assert refused(lambda: client.get_config("startup")).tag == "invalid-value"
        assert refused(lambda: client.get(("xpath", "/x"))).tag == "operation-not-supported"

    await talk(olt, work)


async def test_rfc6241_7_5_a_lock_keeps_others_out(olt: OltServer) -> None:
    other = olt.olt.open_session()
    olt.olt.lock(other, "candidate")

    def work(client: Any) -> None:
        error = refused(lambda: client.lock("candidate"))
        assert (error.tag, error.type) == ("lock-denied", "protocol")
        assert f"session-id>{other}<" in error.info
        assert refused(lambda: describe(client, "x")).tag == "in-use"
        assert refused(client.commit).tag == "in-use"
        assert refused(lambda: client.unlock("candidate")).tag == "operation-failed"

    await talk(olt, work)


async def test_rfc6241_7_9_kill_session_frees_its_locks(olt: OltServer) -> None:
    def work(client: Any) -> None:
        other = olt.olt.open_session()
        olt.olt.lock(other, "candidate")
        client.kill_session(str(other))
        client.lock("candidate")
        assert refused(lambda: client.kill_session("4711")).tag == "invalid-value"

    await talk(olt, work)


@pytest.mark.parametrize(
    ("steps", "complaint"),
    [
        (("validate", "confirmed"), "without a lock"),
        (("lock", "confirmed"), "without validate"),
        (("lock", "validate", "edit", "confirmed"), "without validate"),
        (("lock", "validate", "commit"), "not confirmed"),
    ],
)
async def test_strict_mode_notices_what_a_careless_client_leaves_out(
    olt: OltServer, steps: tuple[str, ...], complaint: str
) -> None:
    def work(client: Any) -> None:
        actions: dict[str, Callable[[], Any]] = {
            "lock": lambda: client.lock("candidate"),
            "validate": lambda: client.validate("candidate"),
            "edit": lambda: describe(client, "again"),
            "commit": client.commit,
            "confirmed": lambda: client.commit(confirmed=True, timeout="30"),
        }
        describe(client, "x")
        for step in steps[:-1]:
            if step == "lock":
                client.discard_changes()
                client.lock("candidate")
                describe(client, "x")
            else:
                actions[step]()
        assert complaint in str(refused(actions[steps[-1]]))
        assert description(client) is None

    await talk(olt, work)


async def test_rfc6241_8_4_without_the_confirming_commit_the_olt_goes_back(olt: OltServer) -> None:
    def work(client: Any) -> None:
        client.lock("candidate")
        describe(client, "for a second")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="1")
        assert description(client) == "for a second"

    rolled_back = asyncio.Event()
    honest = olt.olt.roll_back

    def roll_back() -> None:
        honest()
        rolled_back.set()

    olt.olt.roll_back = roll_back  # type: ignore[method-assign]

    def wait_for_it(client: Any) -> None:
        work(client)
        asyncio.run_coroutine_threadsafe(rolled_back.wait(), loop).result(10)
        assert description(client) is None

    loop = asyncio.get_running_loop()
    await talk(olt, wait_for_it)
    assert not olt.olt.is_pending


async def test_rfc6241_8_4_5_persist_survives_the_session_and_needs_its_token(olt: OltServer) -> None:
    def first(client: Any) -> None:
        client.lock("candidate")
        describe(client, "kept")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="30", persist="token")

    def second(client: Any) -> None:
        client.lock("candidate")
        assert refused(lambda: client.commit(persist_id="wrong")).tag == "invalid-value"
        client.commit(persist_id="token")
        assert description(client) == "kept"

    await talk(olt, first)
    assert olt.olt.is_pending
    await talk(olt, second)
    assert not olt.olt.is_pending


async def test_rfc6241_8_4_cancel_commit_restores_at_once(olt: OltServer) -> None:
    def work(client: Any) -> None:
        client.lock("candidate")
        describe(client, "x")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="30")
        client.cancel_commit()
        assert description(client) is None
        assert refused(client.cancel_commit).tag == "operation-failed"

    await talk(olt, work)


async def test_operational_state_shows_onus_light_and_octets(olt: OltServer) -> None:
    edit = (
        f'<config xmlns="{NC}"><interfaces xmlns="{IF}"><interface><name>vani-x</name>'
        f'<type xmlns:x="{PREFIXES["xponift"]}">x:v-ani</type><v-ani xmlns="{PREFIXES["vani"]}">'
        "<channel-partition>channelpartition-2</channel-partition><expected-serial-number>LABO0000000A"
        "</expected-serial-number><preferred-channel-pair>channelpair-2</preferred-channel-pair></v-ani></interface>"
        f'<interface><name>venet-x</name><type xmlns:x="{PREFIXES["xponift"]}">x:olt-v-enet</type>'
        f'<olt-v-enet xmlns="{PREFIXES["vani"]}"><lower-layer-interface>vani-x</lower-layer-interface></olt-v-enet>'
        "</interface></interfaces></config>"
    )
    olt.olt.alter(edit)
    olt.olt.plant.expected("LABO0000000A", "pon-2")
    olt.olt.plant.carry("LABO0000000A", 1000, 9000)
    state = await talk(olt, lambda client: etree.fromstring(client.get().data_xml.encode()))
    entries = {e.findtext("{*}name"): e for e in state.iterfind("{*}interfaces-state/{*}interface")}
    assert entries["vani-x"].findtext(".//{*}detected-serial-number") == "LABO0000000A"
    assert entries["vani-x"].findtext("{*}oper-status") == "up"
    assert entries["venet-x"].findtext("{*}statistics/{*}in-octets") == "1000"
    assert entries["venet-x"].findtext("{*}statistics/{*}out-octets") == "9000"
    light = state.findtext(".//{*}rssi-onu/{*}rssi")
    assert light is not None
    assert -260 <= int(light) <= -150
    olt.olt.plant.unplug("LABO0000000A")
    state = await talk(olt, lambda client: etree.fromstring(client.get().data_xml.encode()))
    entries = {e.findtext("{*}name"): e for e in state.iterfind("{*}interfaces-state/{*}interface")}
    assert entries["vani-x"].findtext("{*}oper-status") == "down"
    assert entries["vani-x"].find(".//{*}onu-present-on-this-olt") is None


async def test_a_restart_keeps_the_confirmed_configuration_and_the_host_key(tmp_path: Path) -> None:
    settings = OltSettings(state_file=tmp_path / "olt.xml")

    def confirmed(client: Any) -> None:
        client.lock("candidate")
        describe(client, "kept")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="30")
        client.commit()
        describe(client, "lost")
        client.validate("candidate")
        client.commit(confirmed=True, timeout="30", persist="token")

    async with OltServer(settings) as server:
        await talk(server, confirmed)
        key = server.host_key_sha256
    async with OltServer(settings) as server:
        assert await talk(server, description) == "kept"
        assert server.host_key_sha256 == key


async def raw_session(server: OltServer) -> tuple[asyncssh.SSHClientConnection, Any, Any]:
    connection = await asyncssh.connect(
        "127.0.0.1", server.port, username=USERNAME, password=PASSWORD, known_hosts=None, config=None
    )
    writer, reader, _ = await connection.open_session(subsystem="netconf", encoding=None)
    return connection, writer, reader


async def test_rfc6242_4_3_a_base_1_0_client_is_answered_in_base_1_0_framing(olt: OltServer) -> None:
    connection, writer, reader = await raw_session(olt)
    async with connection:
        hello = await reader.readuntil(b"]]>]]>")
        assert b"<session-id>" in hello
        writer.write(
            f'<hello xmlns="{NC}"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability>'
            "</capabilities></hello>]]>]]>"
            f'<rpc message-id="7" xmlns="{NC}" extra="kept"><close-session/></rpc>]]>]]>'.encode()
        )
        reply = etree.fromstring((await reader.readuntil(b"]]>]]>"))[: -len("]]>]]>")])
        assert (reply.get("message-id"), reply.get("extra")) == ("7", "kept")
        assert reply.find(f"{{{NC}}}ok") is not None


@pytest.mark.parametrize(
    "garbage",
    [b"not xml]]>]]>", b"<hello/>]]>]]>", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>]]>]]>'],
)
async def test_garbage_ends_the_session_and_nothing_else(olt: OltServer, garbage: bytes) -> None:
    connection, writer, reader = await raw_session(olt)
    async with connection:
        await reader.readuntil(b"]]>]]>")
        writer.write(garbage)
        with pytest.raises((asyncssh.Error, OSError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"]]>]]>")
    assert await talk(olt, description) is None


async def test_a_wrong_password_and_another_subsystem_are_refused(olt: OltServer) -> None:
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(
            "127.0.0.1", olt.port, username=USERNAME, password="no", known_hosts=None, config=None, client_keys=None
        )
    connection = await asyncssh.connect(
        "127.0.0.1", olt.port, username=USERNAME, password=PASSWORD, known_hosts=None, config=None
    )
    async with connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_session(subsystem="sftp")


async def test_it_runs_as_a_process_with_a_control_socket(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lab.olt", "--port", "0", "--state", str(tmp_path / "olt.xml"),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert ready["host_key_sha256"].startswith("SHA256:")
        reader, writer = await asyncio.open_connection("127.0.0.1", ready["control_port"])

        async def ask(**request: object) -> dict[str, Any]:
            writer.write(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 10))
            return answer

        assert (await ask(do="alter", config=DESCRIBE.format("console")))["ok"]
        assert "console" in (await ask(do="running"))["running"]
        assert (await ask(do="fault", name="delay_s", value=0.5))["ok"]
        assert "no fault named" in (await ask(do="fault", name="delay_h", value=1))["error"]
        assert [e["rpc"] for e in (await ask(do="transcript"))["transcript"]] == ["console"]
        writer.close()
        await writer.wait_closed()
    finally:
        process.terminate()
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert "console" in (tmp_path / "olt.xml").read_text()
