"""`headend radius …`: try a login, watch a subscriber, list sessions, end one or change its speed, see the evidence.

`test` speaks RADIUS to a port; the others ask a running controller over its API, with the caller's token.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import typer

from controller.app import remote
from controller.app.remote import Refused, Remote, opened
from controller.domain.errors import RuleError
from controller.domain.terminal import plain

_T = TypeVar("_T")

radius_app = typer.Typer(no_args_is_help=True, help="Logins, sessions and their packets, on a running controller.")

_KEY = re.compile(r"[0-9a-f]{32}")
_RATE = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_SILENT = ("in-flight", "deferred", "record")
"""Results of requests that are answered later."""

Who = Annotated[str, typer.Argument(help="Key of a live session, or the user name it runs under.")]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the evidence in accounting.")]
Reason = Annotated[str | None, typer.Option(help="Goes into the audit log.")]


@radius_app.command("test")
def try_login(
    username: Annotated[str, typer.Argument(help="Empty takes the demo's sample subscriber.")] = "",
    password: Annotated[str, typer.Option(envvar="HEADEND_PASSWORD", help="Else it is asked for.")] = "",
    method: Annotated[Literal["pap", "chap", "mschapv2"], typer.Option(help="How the password is proved.")] = "pap",
    host: Annotated[str, typer.Option(help="Where the RADIUS port is.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Authentication port; else that of demo.json, else 1812.")] = 0,
    secret: Annotated[str, typer.Option(envvar="HEADEND_RADIUS_SECRET", help="Shared with this host as a NAS.")] = "",
    attribute: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeat for more.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer, twice.")] = 3.0,
) -> None:
    """Send one Access-Request and show request and reply by name.

    Exit status 0 for Access-Accept, 1 for another answer, 2 for none.
    """
    from controller.app.radius_probe import probe

    place = _settled(remote.find)
    username, password = username or place.username, password or ("" if username else place.password)
    if not username:
        raise _refusal("whose login? headend radius test USERNAME")
    if not password:
        password = typer.prompt("Password", hide_input=True)
    secret = secret or place.radius_secret
    if not secret:
        raise _refusal("the shared secret of this host as a NAS is needed: --secret or HEADEND_RADIUS_SECRET")
    port = port or place.auth_port or 1812
    outcome = _settled(
        lambda: probe(
            host, port, secret, username, password, method=method, attributes=attribute or (), timeout_s=timeout
        )
    )
    print(f"Access-Request to {host}:{port}")
    _print_attributes(outcome.request)
    if outcome.code:
        print(f"{outcome.code} after {outcome.took_s * 1000:.1f} ms")
        _print_attributes(outcome.reply)
    if outcome.remark:
        print(outcome.remark)
    if not outcome.accepted:
        print(f"The reason stands in: headend radius trace {username}   (then try again)")
    sys.exit(0 if outcome.accepted else 1 if outcome.code else 2)


@radius_app.command()
def trace(
    target: Annotated[str, typer.Argument(help="User name, MAC address, or IP address of a session or a NAS.")],
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="How long.")] = 300,
    packets: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 1_000,
) -> None:
    """Show one subscriber's packets as they come, with the reason of every reject and drop. Ctrl-C ends it."""
    with opened() as api:
        try:
            for name, event in api.events("/radius/trace", target=target, seconds=seconds, packets=packets):
                print(_SHOWN[name](event), flush=True)
        except KeyboardInterrupt:
            print("Ended.")


@radius_app.command()
def sessions(
    username: Annotated[str, typer.Option(help="Of this user name.")] = "",
    service: Annotated[str, typer.Option(help="Of this service id.")] = "",
    session_id: Annotated[str, typer.Option(help="With this Acct-Session-Id.")] = "",
    nas: Annotated[str, typer.Option(help="On the NAS of this name.")] = "",
    ip: Annotated[str, typer.Option(help="With this address, or a prefix that it lies in.")] = "",
    state: Annotated[Literal["live", "ended", "all"], typer.Option(help="Which.")] = "live",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
) -> None:
    """List sessions, newest first."""
    asked: dict[str, str] = {"username": username, "service_id": service, "session_id": session_id, "address": ip}
    if state != "all":
        asked["state"] = state
    with opened() as api:
        names = _NasNames(api)
        if nas:
            asked["nas_id"] = names.id_of(nas)
        shown = 0
        for row in api.all("/sessions", **{name: value for name, value in asked.items() if value}):
            print(plain(_session_line(row, names.of(row["nas_id"]))))
            shown += 1
            if shown == limit:
                print(f"… --limit {limit} reached")
                break
        if not shown:
            print("no session")


@radius_app.command()
def disconnect(who: Who, wait: Wait = 5.0, reason: Reason = None) -> None:
    """End a live session. Exit status 0 when its Stop was seen, 1 when the NAS refused or nothing was seen."""
    with opened() as api:
        session = _live(api, who)
        answer = api.post(f"/sessions/{session['session_key']}/disconnect", {"reason": reason})
        print(plain(f"Disconnect-Request for {session['username']}: {_outcome(answer)}"))
        if answer["result"] != "ack":
            sys.exit(1)
        ended = _until(wait, lambda: _ended(api, session))
        if ended is None:
            print(f"No evidence within {wait:g} s: accounting still counts the session as live.")
            sys.exit(1)
        print(f"Evidence: its accounting ended at {ended['ended_at']} ({ended['end_cause'] or 'no cause given'}).")


@radius_app.command()
def coa(
    who: Who,
    down: Annotated[str, typer.Option(help="Speed towards the subscriber in bit/s, like 50M.")],
    up: Annotated[str, typer.Option(help="Speed from the subscriber in bit/s, like 10M.")],
    profile: Annotated[str, typer.Option(help="Name that goes into the Class, for the evidence.")] = "by-hand",
    wait: Wait = 5.0,
    reason: Reason = None,
) -> None:
    """Change the speed of a live session until its next login. Exit status 1 when refused or not proved in time."""
    body = {"profile_name": profile, "downstream_bps": _rate(down), "upstream_bps": _rate(up), "reason": reason}
    with opened() as api:
        session = _live(api, who)
        path = f"/sessions/{session['session_key']}"
        answer = api.post(f"{path}/coa", body)
        print(plain(f"CoA-Request for {session['username']}: {_outcome(answer)}"))
        if answer["result"] != "ack":
            sys.exit(1)
        seen = _until(wait, lambda: _evidence(api, path, answer["asked_at"]))
        if seen is None:
            print(f"No evidence within {wait:g} s; the next Interim-Update brings it: GET {path}/speed")
            sys.exit(1)
        rates = [f"{name} {seen[key]} bit/s" for name, key in (("down", "downstream_bps"), ("up", "upstream_bps"))
                 if seen[key] is not None]  # fmt: skip
        told = ", ".join([f"profile {seen['profile_name']}", *rates])
        print(plain(f"Evidence: {told}, by the {seen['source']} of {seen['observed_at']}"))


def _settled(work: Callable[[], _T]) -> _T:
    try:
        return work()
    except RuleError as error:
        raise _refusal(str(error)) from None


def _refusal(words: str) -> SystemExit:
    print(f"headend: {words}", file=sys.stderr)
    return SystemExit(2)


def _live(api: Remote, who: str) -> dict[str, Any]:
    """The one live session that is meant. Raises RuleError for none and for several."""
    if _KEY.fullmatch(who):
        found = [row for row in [api.get(f"/sessions/{who}")] if row["state"] == "live"]
    else:
        found = list(api.all("/sessions", state="live", username=who))
    if not found:
        raise RuleError(f"no live session of {who!r}")
    if len(found) > 1:
        keys = ", ".join(row["session_key"] for row in found[:8])
        raise RuleError(f"{len(found)} live sessions of {who!r}; name one by its key: {keys}")
    return found[0]


def _ended(api: Remote, session: dict[str, Any]) -> dict[str, Any] | None:
    rows = api.get("/sessions", username=session["username"], state="ended", limit=500)["items"]
    return next((row for row in rows if row["session_key"] == session["session_key"]), None)


def _evidence(api: Remote, path: str, since: str) -> dict[str, Any] | None:
    seen = api.get(f"{path}/speed", since=since)
    return seen if seen["observed"] else None


def _until(seconds: float, look: Callable[[], _T | None]) -> _T | None:
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(0.2)


def _rate(text: str) -> int:
    match = _RATE.fullmatch(text)
    if match is None:
        raise _refusal(f"{text!r} is no speed; write bit/s like 50M, 512k or 1G")
    return int(float(match[1]) * _FACTORS[match[2]])


def _outcome(answer: dict[str, Any]) -> str:
    cause = "" if answer["error_cause"] is None else f", Error-Cause {answer['error_cause']}"
    detail = f" ({answer['detail']})" if answer["detail"] else ""
    return f"{answer['result'].upper()}{cause}{detail}"


class _NasNames:
    """Names of NAS, and of the boxes of networks and behind proxies."""

    def __init__(self, api: Remote) -> None:
        self._api = api
        self._names = {row["nas_id"]: row["name"] for row in api.all("/nas")}

    def id_of(self, name: str) -> str:
        """Raises RuleError for a name that no NAS has."""
        found = next((nas_id for nas_id, known in self._names.items() if known == name), None)
        if found is None:
            raise RuleError(f"no NAS is named {name!r}; known: {', '.join(sorted(self._names.values()))}")
        return str(found)

    def of(self, nas_id: str) -> str:
        if nas_id not in self._names:
            self._names[nas_id] = self._of_box(nas_id)
        return str(self._names[nas_id])

    def _of_box(self, nas_id: str) -> str:
        try:
            box = self._api.get(f"/nas-boxes/{nas_id}")
        except Refused:
            return nas_id  # its registration is gone
        return f"{self._names.get(box['registered_nas_id'], '')} {box['said'] or box['address']}".strip()


def _session_line(row: dict[str, Any], nas: str) -> str:
    state = row["state"] if row["state"] == "ended" else "suspect" if row["suspect"] else "live"
    return (
        f"{row['session_key']}  {state:8}{row['username']:24.24}  {nas:24.24}  "
        f"{row['framed_ipv4'] or '-':15}  {row['calling_station_id'] or '-':17.17}  since {row['started_at'][:19]}  "
        f"up {row['upstream_octets']}  down {row['downstream_octets']}"
    )


def _datagram(event: dict[str, Any]) -> str:
    arrow = "─►" if event["direction"] == "in" else "◄─"
    head = f"{event['at'][11:23]} {event['peer']} {arrow} {event['code']}"
    if event["identifier"] is not None:
        head += f" id {event['identifier']}"
    if event["nas"]:
        head += f"  NAS {event['nas']}"
    lines = [plain(head), *(plain(f"    {name} = {value}") for name, value in event["attributes"])]
    verdict = plain(_verdict(event))
    return "\n".join([*lines, f"  {verdict}"] if verdict else lines)


def _verdict(event: dict[str, Any]) -> str:
    result, reason = event["result"], event["reason"]
    words = f"{result}: {reason}" if reason else result
    if not result or (event["direction"] == "out" and not reason):
        return ""
    if event["direction"] == "in" and result not in _SILENT:
        return f"NO ANSWER, {words}"
    return words


def _ending(event: dict[str, Any]) -> str:
    lost = f", {event['lost']} lost because they came faster than they were read" if event["lost"] else ""
    return f"{event['packets']} datagrams{lost}: {event['why']}."


def _beginning(event: dict[str, Any]) -> str:
    return f"Watching {event['target']} for {event['seconds']} s. Ctrl-C ends it."


_SHOWN = {"begin": _beginning, "packet": _datagram, "end": _ending}


def _print_attributes(lines: list[tuple[str, str]]) -> None:
    for name, value in lines:
        print(plain(f"    {name} = {value}"))
