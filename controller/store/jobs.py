"""Durable work: workflows that go on after kill -9 where they stood. A small port over DBOS Transact.

    jobs = Jobs(database.url, data_dir)
    jobs.register("order.v1", fulfil)                 # before launch; the version is part of the name
    await jobs.launch()                               # on the loop that shall run the workflows
    await jobs.start("order.v1", f"order.v1:{order_id}", order_id)

    async def fulfil(order_id: str) -> str:           # decides only; everything it sees comes from steps
        answer = await jobs.step("apply", self.apply, order_id, retry=PATIENT)

What a step returns is kept; a step that had not returned runs again after a crash. Steps are therefore at-least-once:
they read before they write. Workflow arguments and step results lie in the jobs database as pickles: no secret may pass
through them. About 2.4 ms of CPU per step: never one workflow per packet, record or poll.

Several processes share one PostgreSQL, each under an executor id of its own: `take_over` goes on with what a lost one
left (see `executors`, which says who is lost), and `ready` keeps one that fell silent from beginning another step.

Refuses: two processes under one executor id (a lock file in the data directory), a second Jobs in one process, and
starting what was not registered.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy.engine import URL
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from controller.domain.errors import NotFound, RuleError

log = structlog.get_logger()

T = TypeVar("T")
Workflow = Callable[..., Coroutine[Any, Any, Any]]

_APPLICATION = "headend"
_VERSION = "1"
"""Pinned: DBOS recovers only workflows of its own version, which it would otherwise compute from source text."""
_SCHEMA = "jobs"
_MAX_THREADS = 64
_CLOSE_GRACE_S = 1.0
_LOCK_WAIT_S = 3.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When and how a step is tried again inside one run of it: only for `on`, waiting ever longer.

    `attempts` None means for ever. `waiting` is told attempt number and error before each wait, to make it visible.
    """

    on: tuple[type[Exception], ...]
    attempts: int | None = None
    first_wait_s: float = 1.0
    factor: float = 2.0
    longest_wait_s: float = 60.0
    waiting: Callable[[int, Exception], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class JobStatus:
    """`state` is "running", "done" or "failed"; `error` says why it failed (a bug: expected refusals are results)."""

    job_id: str
    name: str
    state: str
    error: str | None = None


class Jobs:
    """The durable workflows of this process. `executor_id` None takes the one kept in the data directory.

    `ready` returns as soon as this process may begin something, and never once its work is others'.
    """

    poll_s = 0.5
    """How often SQLite's jobs file is asked for messages; closing waits for it. PostgreSQL notifies."""
    _in_process: Jobs | None = None

    def __init__(
        self,
        url: URL,
        data_dir: Path,
        *,
        executor_id: str | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._data_dir = data_dir
        self._executor_id = executor_id
        self._ready = ready
        self._workflows: dict[str, Workflow] = {}
        self._queues: dict[str, int] = {}
        self._started: dict[str, Workflow] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._lock: int | None = None
        self._closing = False

    @property
    def is_open(self) -> bool:
        """Whether this process runs workflows now: launched, and not closing."""
        return bool(self._started) and not self._closing

    def register(self, name: str, workflow: Workflow) -> None:
        """Make a workflow startable. `name` carries a version: code that replays differently is another name."""
        if name in self._workflows:
            raise RuleError(f"workflow {name} is registered twice", code="job-registered")
        self._workflows[name] = workflow

    def declare_queue(self, name: str, *, at_once: int) -> None:
        """Have a queue that every process takes jobs from, `at_once` at a time each; before `launch`."""
        self._queues[name] = at_once

    async def launch(self) -> None:
        """Open the jobs database and go on with what this executor left unfinished, on the running loop."""
        if Jobs._in_process is not None:
            raise RuleError("another Jobs is open in this process", code="jobs-open")
        await self.hold_name()
        executor = self._executor_id or stable_executor_id(self._data_dir)
        Jobs._in_process = self
        _redirect_logging()
        try:
            DBOS(config=self._config(executor))
            for name, workflow in self._workflows.items():
                self._started[name] = DBOS.workflow(name=name, max_recovery_attempts=None)(self._tracked(workflow))
            # On the loop's own thread: DBOS runs workflows on the loop it was launched from.
            DBOS.launch()
            for name, at_once in self._queues.items():
                await DBOS.register_queue_async(name, worker_concurrency=at_once)
        except BaseException:
            await self.close()
            raise
        log.info("jobs.launched", executor=executor, workflows=len(self._workflows))

    async def hold_name(self) -> None:
        """Lock the executor id in the data directory. Raises RuleError when another process has it; once is enough."""
        if self._lock is None:
            self._data_dir.mkdir(parents=True, exist_ok=True)
            executor = self._executor_id or stable_executor_id(self._data_dir)
            self._lock = await _lock_file(self._data_dir / f"jobs-{executor}.lock")

    async def start(self, name: str, job_id: str, *args: Any) -> None:
        """Start workflow `name` as `job_id`. A second start of the same id changes nothing."""
        workflow = self._started.get(name)
        if workflow is None:
            raise RuleError(f"workflow {name} is not registered, or jobs are not launched", code="job-unknown")
        with SetWorkflowID(job_id):
            await DBOS.start_workflow_async(workflow, *args)

    async def enqueue(self, queue: str, name: str, job_id: str, *args: Any) -> None:
        """Start workflow `name` as `job_id` in whichever process takes it from the queue first; once."""
        workflow = self._started.get(name)
        if workflow is None or queue not in self._queues:
            raise RuleError(f"workflow {name} or queue {queue} is not known, or not launched", code="job-unknown")
        with SetWorkflowID(job_id):
            await DBOS.enqueue_workflow_async(queue, workflow, *args)

    async def step(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        retry: RetryPolicy | None = None,
    ) -> T:
        """Inside a workflow: run `function(*args)` once and keep its result. Outside of one, just run it."""

        async def attempt() -> T:
            await self.ready()
            return await function(*args) if retry is None else await retrying(function, *args, policy=retry)

        return await DBOS.run_step_async({"name": name}, attempt)

    async def ready(self) -> None:
        """Call before each effect of a step that has several."""
        if self._ready is not None:
            await self._ready()

    async def take_over(self, executor_ids: Sequence[str]) -> None:
        """Go on with what processes that are lost left unfinished. Again, or by several at once: each job goes on once.

        DBOS changes a job's owner by compare-and-set, and what it queues is taken from the queue by one process.
        """
        found = await asyncio.to_thread(DBOS._recover_pending_workflows, list(executor_ids))
        if found:
            log.warning("jobs.taken_over", executors=list(executor_ids), jobs=len(found))

    async def sleep(self, seconds: float) -> None:
        """Inside a workflow: wait; after a restart only for what remains."""
        await DBOS.sleep_async(seconds)

    async def status(self, job_id: str) -> JobStatus | None:
        """None for an id that was never started."""
        found = await DBOS.get_workflow_status_async(job_id)
        if found is None:
            return None
        state = {"SUCCESS": "done", "PENDING": "running", "ENQUEUED": "running", "DELAYED": "running"}.get(
            found.status, "failed"
        )
        return JobStatus(job_id, found.name, state, None if found.error is None else str(found.error))

    async def wait(self, job_id: str, *, poll_s: float = 0.05) -> Any:
        """Wait for the end; return the workflow's result or raise its error. Raises NotFound."""
        if await self.status(job_id) is None:
            raise NotFound(f"no job {job_id}")
        handle: Any = await DBOS.retrieve_workflow_async(job_id)
        return await handle.get_result(polling_interval_sec=poll_s)

    async def close(self) -> None:
        """Stop at once: running workflows are interrupted between two effects and go on at the next launch."""
        self._closing = True
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(tuple(self._running), timeout=_CLOSE_GRACE_S)
        if Jobs._in_process is self:
            loop = asyncio.get_running_loop()
            # DBOS had put its own pool under asyncio.to_thread and ends it now: give the loop a new one.
            loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="headend"))
            with ThreadPoolExecutor(1, thread_name_prefix="jobs-close") as closer:
                await loop.run_in_executor(closer, lambda: DBOS.destroy(destroy_registry=True))
            self._started.clear()
            self._closing = False
            Jobs._in_process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _tracked(self, workflow: Workflow) -> Workflow:
        """`workflow`, with its task known to `close`: a step that outlives the database would be kept as failed."""

        async def run(*args: Any) -> Any:
            if self._closing:  # recovered in the very moment of closing: left for the next launch
                raise asyncio.CancelledError
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return await workflow(*args)

        run.__name__ = run.__qualname__ = getattr(workflow, "__qualname__", "workflow")
        return run

    def _config(self, executor: str) -> DBOSConfig:
        """Nothing is printed, no port opened and nobody called: no conductor key, no telemetry exporter."""
        if self._url.get_backend_name() == "sqlite":
            path = self._data_dir / "jobs.db"
            _prepare_sqlite(path)
            url = URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
        else:
            url = self._url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        return {
            "name": _APPLICATION,
            "system_database_url": url,
            "sys_db_pool_size": 6,
            "dbos_system_schema": _SCHEMA,
            "executor_id": executor,
            "application_version": _VERSION,
            "max_executor_threads": _MAX_THREADS,
            "notification_listener_polling_interval_sec": self.poll_s,
            "notification_coalesce_sec": 1.0,  # for streams and events, which nobody here uses; else 100 times a second
            "enable_otlp": False,
            "log_level": "ERROR",
        }


def stable_executor_id(data_dir: Path) -> str:
    """The id of this data directory, for what belongs to it alone; made once, then kept."""
    path = data_dir / "executor.id"
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(uuid.uuid4().hex)
        fresh.replace(path)  # whole or not at all, whenever the process dies
    return path.read_text().strip()


async def retrying(function: Callable[..., Coroutine[Any, Any, T]], *args: Any, policy: RetryPolicy) -> T:
    """Run `function(*args)` until it succeeds, or raises what the policy does not name, or its attempts are used up."""
    attempt, wait_s = 0, policy.first_wait_s
    while True:
        attempt += 1
        try:
            return await function(*args)
        except policy.on as error:
            if policy.attempts is not None and attempt >= policy.attempts:
                raise
            if policy.waiting is not None:
                await policy.waiting(attempt, error)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * policy.factor, policy.longest_wait_s)


def _prepare_sqlite(path: Path) -> None:
    """WAL is a property of the file: set once before DBOS opens it, each checkpoint then costs one fsync."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


async def _lock_file(path: Path) -> int:
    """Hold `path` until the process ends, by whatever end. Two of one id would run each other's workflows.

    A process that was killed may hold it for a moment more, until the kernel has torn it down: that is waited for.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    held = AsyncRetrying(
        retry=retry_if_exception_type(BlockingIOError),
        stop=stop_after_delay(_LOCK_WAIT_S),
        wait=wait_fixed(0.05),
        reraise=True,
    )
    try:
        async for attempt in held:
            with attempt:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise RuleError(f"{path} is held: another process runs with this data directory", code="jobs-locked") from None
    return descriptor


class _ToStructlog(logging.Handler):
    """DBOS's errors as events of our own log; its banners and warnings stay below the level."""

    def emit(self, record: logging.LogRecord) -> None:
        log.error(
            "jobs.engine", detail=record.getMessage(), error=repr(record.exc_info[1]) if record.exc_info else None
        )


def _redirect_logging() -> None:
    """DBOS adds a console handler only to a logger that has none."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(_ToStructlog())
        logger.propagate = False
