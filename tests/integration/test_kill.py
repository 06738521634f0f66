"""kill -9 in the middle of accounting: what was acknowledged is in the log once, and sessions go on.

The controller is a real process, the NAS another one that journals every answer. The instants of the kills come from a
seed, which is printed; HEADEND_TEST_SEED sets it, `random` takes a new one.
"""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest

from controller.store.engine import Database
from tests.support.killing import (
    FEW_KILLS,
    KILLS,
    kill_again_and_again,
    prove_accounting,
    read_journal,
    running,
    seed_of_this_run,
)


@pytest.mark.parametrize("kills", [FEW_KILLS, pytest.param(KILLS, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_a_controller_killed_again_and_again_lost_and_doubled_nothing(
    kind: str, kills: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seed = seed_of_this_run()
    url = ""
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").create(f"kill{uuid.uuid4().hex}")
    with running(tmp_path, url, seed) as (controller, sender):
        whiles = kill_again_and_again(controller, sender, random.Random(seed), kills=kills)
        totals = sender.finish()
        print("killed after", " ".join(f"{while_s:.3f}" for while_s in whiles), "s of work")
        database = Database(url or f"sqlite+aiosqlite:///{tmp_path}/data/headend.db")
        try:
            journal = read_journal(sender.journal)
            stored = await prove_accounting(database, journal, totals, at_least=kills * 10)
        finally:
            await database.close()
    assert len(whiles) == kills
    assert stored == {entry["sha256"]: 1 for entry in journal}
