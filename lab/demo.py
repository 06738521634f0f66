"""One run of the demo: devices up, history made at the first start, then the controller on its real ports.

The order of going down is the reverse: subscribers fall silent, the controller stops within its grace time, then the
devices it may still have been talking to.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from lab import clock, history
from lab.api import Api
from lab.broker import Broker
from lab.clock import DemoClock
from lab.console import progress, say
from lab.line import explain_command
from lab.live import Live
from lab.network import Network
from lab.office import Office
from lab.settings import LOOPBACK, LabSettings, Unusable, check_ports, free_port
from lab.supervisor import Supervisor
from lab.world import BUSINESS, ON_A_SERVER, RUNS_DRY, World, make_world, write_private

STOP_S = 9.0
"""The controller's grace time and what the devices need besides."""
_OF_A_CONTROLLER = ("demo.json*", "executor.id", "headend.db*", "headend.key", "jobs*", "timeseries.db*")
"""What lies beside our own folder. Anything else in the directory is the user's, and none of our business."""
UNFINISHED = "unfinished"


class Demo:
    """Everything of one `python -m lab`."""

    def __init__(self, settings: LabSettings) -> None:
        self.settings = settings
        self._lock: IO[str] | None = None
        self.world = self._open_data_dir()
        self.network = Network(settings, self.world)
        self.broker = Broker(settings)

    # -- files ------------------------------------------------------------------------------------------------------

    def _open_data_dir(self) -> World:
        """Make or find the demo's data. Raises Unusable when a headend that is no demo is there, or one that runs."""
        settings = self.settings
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not settings.lab_dir.exists() and (files := _files_of_a_controller(settings.data_dir)):
                raise Unusable(
                    f"{settings.data_dir} holds data of a headend that is no demo ({files[0].name}): "
                    "choose another HEADEND_DATA_DIR"
                )
            settings.lab_dir.mkdir(exist_ok=True, mode=0o700)
            self._hold_lock()
        except OSError as error:
            raise Unusable(f"HEADEND_DATA_DIR={settings.data_dir} cannot be used: {error.strerror}") from None
        known = settings.lab_dir / "world.json"
        check_ports(settings)
        if known.exists():
            world = World.load(known)
            if world.history_until:
                _refuse_another_database(settings, world)
                return world
            self._begin_again()
        world = make_world(settings.subscribers, settings.experiments, settings.history_days)
        world.notes[ON_A_SERVER] = "yes" if settings.database_url else ""
        return world

    def _hold_lock(self) -> None:
        self._lock = (self.settings.lab_dir / "lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Unusable(
                f"another demo runs on {self.settings.data_dir}; a second one needs its own HEADEND_DATA_DIR"
            ) from None

    def _begin_again(self) -> None:
        """A first start that was interrupted left half a history: it is made anew, from nothing."""
        if self.settings.database_url:
            raise Unusable("the first start was interrupted: empty the database that HEADEND_DATABASE_URL names")
        say("The first start was interrupted; history is made anew.")
        for entry in _files_of_a_controller(self.settings.data_dir):
            _remove(entry)
        for entry in self.settings.lab_dir.iterdir():
            if entry.name != "lock":
                _remove(entry)

    def _save_world(self) -> None:
        self.world.save(self.settings.lab_dir / "world.json")

    def _write_demo_json(self) -> None:
        demo = {
            "http": f"http://{LOOPBACK}:{self.settings.http_port}",
            "token": self.world.token,
            "nas_secret": self.world.nas_secret,
            "auth_port": self.settings.auth_port,
            "acct_port": self.settings.acct_port,
            "subscribers": [
                {"username": s.username, "password": s.password, "service_id": s.service_id}
                for s in self.world.experiments()
            ],
        }
        write_private(self.settings.demo_json, json.dumps(demo, indent=1) + "\n")

    # -- running ----------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Until SIGINT or SIGTERM. Returns the exit status. Raises Unusable, ServerFailed."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if work.done():
            await work
            return 1
        say("Stopping …")
        work.cancel()
        await asyncio.wait({work}, timeout=STOP_S)
        if not work.done():
            say(
                f"Something did not stop within {STOP_S:.0f} s; leaving it. The next start goes on with what was saved."
            )
            sys.stdout.flush()
            # Waiting in an orderly way is what just failed. The children die with this process.
            os._exit(1)
        with suppress(asyncio.CancelledError):
            await work
        return 0

    async def _work(self) -> None:
        try:
            await self.network.start()
            await self.broker.start()
            if not self.world.history_until:
                await self._make_history()
            await self._live()
        finally:
            await self.network.stop()
            await self.broker.stop()

    async def _make_history(self) -> None:
        settings, world = self.settings, self.world
        until = clock.now()
        first = history.first_day(until.astimezone(history.ZONE).date(), settings.history_days)
        start = datetime.combine(first, datetime.min.time(), tzinfo=history.ZONE).astimezone(until.tzinfo)
        self._save_world()
        ports = (free_port(socket.SOCK_STREAM), free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM))
        controller = self._controller(ports, {"HEADEND_CLOCK": "demo", "HEADEND_DEMO_START": start.isoformat()})
        say(f"First start: making {settings.history_days} days of history for {settings.subscribers} subscribers.")
        await controller.start()
        api = Api(f"http://{LOOPBACK}:{ports[0]}", world.token)
        demo_clock = DemoClock(start, api)
        try:
            office = Office(api, world)
            bras = await self.network.attach_bras(ports[1], ports[2], demo_clock, live=False)
            await office.register_nas(bras.coa_port)
            await self.network.register(office)
            await bras.open()
            story = history.History(world, office, bras, demo_clock, first, until)
            with progress("History", len(history.steps(first, until))) as bar:
                await story.make(bar)
            await self.network.detach_bras()
            for sentence in story.held:
                say(f"Held on purpose, for the order page: {sentence}")
        finally:
            await self.network.detach_bras()
            await api.close()
            await controller.stop()
        world.history_until = until.isoformat()
        self._save_world()

    async def _live(self) -> None:
        settings, world = self.settings, self.world
        controller = self._controller(
            (settings.http_port, settings.auth_port, settings.acct_port), {"HEADEND_CLOCK": "system"}
        )
        bras = await self.network.attach_bras(settings.auth_port, settings.acct_port, clock.now, live=True)
        # Traffic since the last run is counted now, or the first poll would see it all within seconds.
        self.network.count(clock.now())
        self._save_world()
        self._write_demo_json()
        await controller.start()
        api = Api(f"http://{LOOPBACK}:{settings.http_port}", world.token)
        try:
            office = Office(api, world)
            await office.move_coa(bras.coa_port)
            await self.network.register(office)
            await bras.open()
            self._greet()
            async with asyncio.TaskGroup() as group:
                group.create_task(controller.watch())
                group.create_task(Live(self.network, bras, world, self.broker.url).run())
        finally:
            await self.network.detach_bras()
            await api.close()
            await controller.stop()

    def _controller(self, ports: tuple[int, int, int], more: dict[str, str]) -> Supervisor:
        environment = {
            "HEADEND_DATA_DIR": str(self.settings.data_dir),
            "HEADEND_HTTP_PORT": str(ports[0]),
            "HEADEND_AUTH_PORT": str(ports[1]),
            "HEADEND_ACCT_PORT": str(ports[2]),
            "HEADEND_DATABASE_URL": self.settings.database_url,
            "HEADEND_ADMIN_PASSWORD": self.world.admin_password,
            "HEADEND_ADMIN_TOKEN": self.world.token,
            "HEADEND_MQTT_URL": self.broker.url,
            **more,
        }
        return Supervisor(
            environment, f"http://{LOOPBACK}:{ports[0]}/healthz", self.settings.lab_dir / "serve.log", say
        )

    def _greet(self) -> None:
        settings, world = self.settings, self.world
        online = len(self.network.sessions())
        sample = world.experiments()[0] if world.experiments() else None
        say("")
        say(f"Headend is running: {len(world.subscribers)} subscribers, {online} of them online.")
        say(f"  Page       http://{LOOPBACK}:{settings.http_port}/")
        say(f"  Sign-in    admin   {world.admin_password}")
        say(f"  Data       {settings.data_dir}   (for scripts: demo.json)")
        say(f"  MQTT       {self.broker.describe()}")
        say("")
        say("Try next:")
        say("  order, activate and invoice a line in under a minute")
        say(f"    {_prefix(settings)}.venv/bin/python -m lab line")
        if sample is not None:
            say("  sign a subscriber in yourself (Debian package freeradius-utils)")
            say(f"    radtest {sample.username} {sample.password} {LOOPBACK}:{settings.auth_port} 0 {world.nas_secret}")
        if line := world.notes.get("usage_line"):
            say("  have an invoice line explained down to the packets it came from")
            say(explain_command(settings, line).replace("  ", "    ", 1))
        if business := next((s for s in world.subscribers if s.offering == BUSINESS.key and s.active), None):
            say("  a business line, carried by the OLT and policed by the router, as both were read back")
            say(f"    http://{LOOPBACK}:{settings.http_port}/services/{business.service_id}")
        if dry := next((s for s in world.subscribers if s.prepaid == RUNS_DRY and s.active), None):
            say("  a prepaid balance that has run dry: a top-up lets its session out of the walled garden")
            say(f"    http://{LOOPBACK}:{settings.http_port}/prepaid/{dry.service_id}")
        say("  the order that fell out, with its cause, and the invoices of two months: on the page")
        say(f"  the API: http://{LOOPBACK}:{settings.http_port}/openapi.json")
        say("")
        say("Ctrl-C stops it; the next start goes on with the same data.")


def _refuse_another_database(settings: LabSettings, world: World) -> None:
    """The devices go on with sessions and lines that only the database of the first start knows."""
    if bool(settings.database_url) != bool(world.notes.get(ON_A_SERVER)):
        where = "the database that HEADEND_DATABASE_URL named" if world.notes.get(ON_A_SERVER) else "SQLite files here"
        raise Unusable(
            f"the demo in {settings.data_dir} was made with {where}: start it so again, or choose another"
            " HEADEND_DATA_DIR"
        )


def _prefix(settings: LabSettings) -> str:
    return f"HEADEND_DATA_DIR={settings.data_dir} "


def _files_of_a_controller(data_dir: Path) -> list[Path]:
    return sorted(entry for pattern in _OF_A_CONTROLLER for entry in data_dir.glob(pattern))


def _remove(entry: Path) -> None:
    remove: Callable[[Path], None] = shutil.rmtree if entry.is_dir() and not entry.is_symlink() else Path.unlink
    remove(entry)
