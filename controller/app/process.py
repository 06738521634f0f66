"""One `headend serve` process: brings the schema up to date, starts what the roles say, and stops cleanly.

A process that others took for dead ends with status 3: they are at its work, and it may start again.
SIGTERM and SIGINT stop it: sockets stop taking work, what is being committed is committed and acknowledged, streams
end. A part that dies of a bug ends the process with its traceback; a supervisor starts it again and nothing
acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import UTC, datetime

import structlog
import uvloop

from controller.app import telemetry, wiring
from controller.app.migration import migrate
from controller.app.settings import Settings
from controller.domain.errors import RuleError
from controller.store.executors import ExecutorLost

log = structlog.get_logger()


_LEAVING_S = 5.0
"""How long threads of libraries may take to end after everything was closed and committed."""


def serve(settings: Settings) -> int:
    """Run until a signal. Returns the exit status: 0 after a clean stop, 2 when it could not start, 3 when lost.

    The caller ends the process then. A library's thread that goes on asking a database that is away would keep it for
    ever: it has a few seconds.
    """
    status = _run(settings)
    leaving = threading.Timer(_LEAVING_S, _leave, (status,))
    leaving.daemon = True
    leaving.start()
    return status


def _leave(status: int) -> None:
    waiting = sorted(thread.name for thread in threading.enumerate() if not thread.daemon)
    log.warning("left-behind", threads=waiting)
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(status)


def _run(settings: Settings) -> int:
    telemetry.configure(settings.log_level)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.info("schema", result=migrate(settings.url, datetime.now(UTC)))
        uvloop.run(_serve(settings))
    except (RuleError, OSError) as error:
        print(f"headend cannot start: {error}", file=sys.stderr)
        return 2
    except ExecutorLost as lost:
        print(f"headend ends, and may be started again: {lost}", file=sys.stderr)
        return 3
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    program = await wiring.build(settings)
    try:
        await program.start()
        log.info("serving", http=program.http.url, pid=os.getpid(), roles=settings.roles)
        await _run_until(stop, program)
    finally:
        await program.close()
        log.info("stopped")


async def _run_until(stop: asyncio.Event, program: wiring.Program) -> None:
    """Run every background task in one group until `stop`; a task that fails ends all of them."""
    try:
        await _run_tasks(stop, program)
    except BaseExceptionGroup as failed:
        lost, _ = failed.split(ExecutorLost)
        raise (failed if lost is None else ExecutorLost(str(lost.exceptions[0]))) from None


async def _run_tasks(stop: asyncio.Event, program: wiring.Program) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(), name=name) for name, run in program.tasks]
        await stop.wait()
        log.info("stopping")
        program.stop_taking_work()
        for task in tasks:
            task.cancel()
