"""A process to kill: runs one durable workflow of three steps, each of which notes its effect once in a SQLite file.

    python -m tests.support.job_child JOBS_URL DATA_DIR

Prints "step N" when step N has made its effect; a step named in DATA_DIR/hang then waits to be killed.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

from controller.store.jobs import Jobs

JOB = "chain.v1:1"


async def main(url: str, data_dir: Path) -> None:
    jobs, parent = Jobs(make_url(url), data_dir), os.getppid()

    async def effect(step: int) -> int:
        with sqlite3.connect(data_dir / "effects.db") as effects:
            effects.execute("CREATE TABLE IF NOT EXISTS run (step INTEGER)")
            effects.execute("CREATE TABLE IF NOT EXISTS effect (step INTEGER PRIMARY KEY)")
            effects.execute("INSERT INTO run VALUES (?)", (step,))
            effects.execute("INSERT INTO effect VALUES (?) ON CONFLICT DO NOTHING", (step,))
        print("step", step, flush=True)
        if (data_dir / "hang").read_text() == str(step):
            while os.getppid() == parent:  # noqa: ASYNC110 (a test that failed leaves nothing behind)
                await asyncio.sleep(0.2)
        return step

    async def chain(first: int) -> int:
        return sum([await jobs.step(f"step-{n}", effect, n) for n in range(first, first + 3)])

    jobs.register("chain.v1", chain)
    await jobs.launch()
    await jobs.start("chain.v1", JOB, 1)
    print("result", await jobs.wait(JOB), flush=True)
    await jobs.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
