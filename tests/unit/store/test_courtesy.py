import asyncio
import time

import pytest

from controller.store import courtesy
from controller.store.courtesy import Courtesy


async def rested(monkeypatch: pytest.MonkeyPatch, cpu_while_resting: float, then: float | None = None) -> list[float]:
    """Rests after one second of work, while the rest of the process uses so much of a processor (`then`: from the
    third second on)."""
    now, cpu, rests = [100.0], [5.0], []

    async def sleep(seconds: float) -> None:
        used = cpu_while_resting if then is None or sum(rests) < 2 else then
        rests.append(seconds)
        now[0] += seconds
        cpu[0] += seconds * used

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "process_time", lambda: cpu[0])
    monkeypatch.setattr(courtesy.asyncio, "sleep", sleep)
    async with Courtesy(0.1):
        now[0] += 1.0
    return rests


async def test_beside_an_idle_process_it_works_four_tenths_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 / (1 + sum(await rested(monkeypatch, 0.0))) == pytest.approx(0.4)


async def test_beside_a_process_that_uses_all_it_works_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(await rested(monkeypatch, 1.0)) == pytest.approx(9.0)


async def test_of_what_the_others_leave_below_four_fifths_it_takes_half(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 / (1 + sum(await rested(monkeypatch, 0.5))) == pytest.approx(0.15)


async def test_when_the_others_fall_idle_the_rest_is_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(await rested(monkeypatch, 1.0, then=0.0)) < 4


async def test_an_error_in_the_block_is_not_kept() -> None:
    with pytest.raises(RuntimeError):
        async with asyncio.timeout(5), Courtesy(0.5):
            raise RuntimeError
