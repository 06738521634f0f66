"""HTTP of logins: in which form a password is kept, that it must be changed, and which lines need none."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from controller.domain.errors import RuleError
from controller.domain.identity import ServiceId
from controller.domain.ports import Secret
from controller.http.endpoint import Call, Endpoint
from radius.authorization.line import Line, line
from radius.lines import LineService
from radius.passwords import SITE, PasswordService
from radius.subscribers import SubscriberService


class LineBody(BaseModel):
    """What a NAS names in place of a user name and a password. `value` is text, or octets as 0x and hex digits."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["circuit", "remote", "port", "mac"] = Field(
        description="circuit and remote: Agent-Circuit-Id and Agent-Remote-Id (RFC 4679, option 82); port: NAS-Port-Id"
    )
    value: str = Field(min_length=1, max_length=496)
    nas_id: str | None = Field(default=None, max_length=32, description="The NAS it holds at; a port needs one")


class LinesBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    lines: list[LineBody] = Field(max_length=32)


class PasswordIn(BaseModel):
    """What to change; fields left out stay."""

    model_config = ConfigDict(extra="forbid")

    form: Literal["clear", "nt", "argon2", "site"] | None = Field(
        default=None,
        description="What is kept; site: as the site does. A richer form needs a new password with it",
    )
    expired: bool | None = Field(default=None, description="Refuse it until it is changed (MS-CHAP error 648)")
    password: SecretStr | None = Field(default=None, max_length=128, description="A new one, kept in this form")


class LoginIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    enabled: bool = Field(description="Whether the next login is accepted; live sessions stay")


def endpoints(passwords: PasswordService, lines: LineService, logins: SubscriberService) -> list[Endpoint]:
    """Below /api/v1."""

    async def password(call: Call) -> None:
        body, service_id = call.body_as(PasswordIn), call.path["service_id"]
        if body.password is not None:
            await passwords.put(service_id, Secret(body.password.get_secret_value()), body.form, actor=call.actor)
        elif body.form is not None:
            await passwords.choose_form(service_id, None if body.form == SITE else body.form, actor=call.actor)
        if body.expired is not None:
            await passwords.expire(service_id, expired=body.expired, actor=call.actor)

    async def login(call: Call) -> None:
        enabled = call.body_as(LoginIn).enabled
        await logins.set_enabled(service_id=ServiceId(call.path["service_id"]), enabled=enabled, actor=call.actor)

    async def show(call: Call) -> LinesBody:
        return _out(await lines.show(call.path["service_id"]))

    async def put(call: Call) -> LinesBody:
        wanted = [line(body.kind, _octets(body.value), body.nas_id or "") for body in call.body_as(LinesBody).lines]
        return _out(await lines.put(call.path["service_id"], wanted, actor=call.actor))

    service = "/services/{service_id}"
    return [
        Endpoint("PATCH", f"{service}/password", "radius:write", password, "A password and its form", body=PasswordIn),
        Endpoint("PATCH", f"{service}/login", "radius:write", login, "Open or lock a login", body=LoginIn),
        Endpoint("GET", f"{service}/lines", "radius:read", show, "Lines that need no password", returns=LinesBody),
        Endpoint(
            "PUT",
            f"{service}/lines",
            "radius:write",
            put,
            "Replace the lines that lead to a service without a password",
            returns=LinesBody,
            body=LinesBody,
        ),
    ]


def _octets(value: str) -> bytes:
    if not value.startswith("0x"):
        return value.encode()
    try:
        return bytes.fromhex(value[2:])
    except ValueError:
        raise RuleError(f"{value!r} is no even number of hex digits") from None


def _out(found: list[Line]) -> LinesBody:
    lines = [{"kind": one.kind, "value": _text(one.value), "nas_id": one.nas_id or None} for one in found]
    return LinesBody.model_validate({"lines": lines})


def _text(value: bytes) -> str:
    text = value.decode(errors="replace")
    return text if text.isprintable() and text.encode() == value else f"0x{value.hex()}"
