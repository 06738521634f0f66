import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from controller.domain.errors import NotFound, RuleError, TemporaryDeviceError
from controller.store.engine import Database
from controller.store.jobs import Jobs, RetryPolicy, stable_executor_id
from tests.support import zygote


@pytest.fixture
async def jobs(database: Database, tmp_path: Path) -> AsyncIterator[Jobs]:
    made = Jobs(database.url, tmp_path)
    try:
        yield made
    finally:
        await made.close()


async def test_a_killed_workflow_goes_on_where_it_stood_and_makes_each_effect_once(
    database: Database, tmp_path: Path
) -> None:
    url = database.url.render_as_string(hide_password=False)
    (tmp_path / "hang").write_text("2")
    process = zygote.start("tests.support.job_child", url, str(tmp_path), output=tmp_path / "killed")
    process.until_printed("step 2")
    process.kill()
    process.wait()
    (tmp_path / "hang").write_text("no")
    output, error = tmp_path / "output", tmp_path / "error"
    assert zygote.start("tests.support.job_child", url, str(tmp_path), output=output, error=error).wait(60) == 0
    assert output.read_text().splitlines()[-1] == "result 6"
    assert error.read_text() == ""
    with sqlite3.connect(tmp_path / "effects.db") as effects:
        assert effects.execute("SELECT step FROM effect ORDER BY step").fetchall() == [(1,), (2,), (3,)]
        runs = dict(effects.execute("SELECT step, count(*) FROM run GROUP BY step").fetchall())
    # A step whose return was not kept runs again; one whose return was kept does not.
    assert runs == {1: 1, 2: 2, 3: 1}


async def test_a_job_started_twice_runs_once(jobs: Jobs) -> None:
    seen: list[str] = []

    async def note(word: str) -> str:
        async def write() -> None:
            seen.append(word)

        await jobs.step("write", write)
        return word.upper()

    jobs.register("note.v1", note)
    await jobs.launch()
    await jobs.start("note.v1", "note.v1:1", "once")
    await jobs.start("note.v1", "note.v1:1", "once")
    assert await jobs.wait("note.v1:1") == "ONCE"
    await jobs.start("note.v1", "note.v1:1", "once")
    assert seen == ["once"]
    status = await jobs.status("note.v1:1")
    assert status is not None
    assert (status.name, status.state) == ("note.v1", "done")
    assert await jobs.status("note.v1:2") is None
    with pytest.raises(NotFound):
        await jobs.wait("note.v1:2")


async def test_a_step_retries_only_what_its_policy_names_and_says_that_it_waits(jobs: Jobs) -> None:
    waits: list[str] = []
    attempts = 0

    async def waiting(attempt: int, error: Exception) -> None:
        waits.append(f"{attempt}: {error}")

    async def flaky() -> int:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise TemporaryDeviceError("no answer")
        return attempts

    async def work() -> int:
        return await jobs.step(
            "flaky", flaky, retry=RetryPolicy(on=(TemporaryDeviceError,), first_wait_s=0.01, waiting=waiting)
        )

    async def broken() -> None:
        raise RuleError("never")

    async def refuse() -> None:
        await jobs.step("broken", broken, retry=RetryPolicy(on=(TemporaryDeviceError,), first_wait_s=0.01))

    jobs.register("work.v1", work)
    jobs.register("refuse.v1", refuse)
    await jobs.launch()
    await jobs.start("work.v1", "w")
    assert await jobs.wait("w") == 3
    assert waits == ["1: no answer", "2: no answer"]
    await jobs.start("refuse.v1", "r")
    with pytest.raises(RuleError, match="never"):
        await jobs.wait("r")
    status = await jobs.status("r")
    assert status is not None
    assert status.state == "failed"


async def test_close_interrupts_within_two_seconds_and_the_next_launch_goes_on(
    database: Database, tmp_path: Path
) -> None:
    release = asyncio.Event()
    entered = asyncio.Event()

    async def wait_for_release() -> str:
        entered.set()
        await release.wait()
        return "went on"

    async def patient() -> str:
        return await jobs.step("wait", wait_for_release)

    jobs = Jobs(database.url, tmp_path)
    jobs.register("patient.v1", patient)
    await jobs.launch()
    await jobs.start("patient.v1", "p")
    await entered.wait()
    began = time.monotonic()
    await jobs.close()
    assert time.monotonic() - began < 2
    assert await asyncio.to_thread(lambda: "threads still work") == "threads still work"

    release.set()
    jobs = Jobs(database.url, tmp_path)
    jobs.register("patient.v1", patient)
    await jobs.launch()
    try:
        assert await jobs.wait("p") == "went on"
    finally:
        await jobs.close()


async def test_workflows_run_on_the_loop_that_launched_them(jobs: Jobs) -> None:
    loop = asyncio.get_running_loop()

    async def where() -> bool:
        return asyncio.get_running_loop() is loop

    async def look() -> list[bool]:
        return [await where(), await jobs.step("where", where)]

    jobs.register("look.v1", look)
    await jobs.launch()
    await jobs.start("look.v1", "l")
    assert await jobs.wait("l") == [True, True]


async def test_a_second_process_with_the_same_data_directory_is_refused(database: Database, tmp_path: Path) -> None:
    (tmp_path / "hang").write_text("1")
    url = database.url.render_as_string(hide_password=False)
    process = zygote.start("tests.support.job_child", url, str(tmp_path), output=tmp_path / "output")
    process.until_printed("step 1")
    try:
        with pytest.raises(RuleError, match="held"):
            await Jobs(database.url, tmp_path).launch()
    finally:
        process.kill()
        process.wait()


async def test_sqlite_jobs_are_kept_in_write_ahead_mode(tmp_path: Path) -> None:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/headend.db")
    jobs = Jobs(database.url, tmp_path)
    await jobs.launch()
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    await jobs.close()
    await database.close()


def test_the_executor_id_stays_with_the_data_directory(tmp_path: Path) -> None:
    first = stable_executor_id(tmp_path)
    assert stable_executor_id(tmp_path) == first
    (tmp_path / "other").mkdir()
    assert stable_executor_id(tmp_path / "other") != first
