"""The demo as `make run` starts it: 200 subscribers and two months of history, used once, stopped and started again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.lab import Demo

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

SUBSCRIBERS, DAYS = 200, 61


def count(demo: Demo, path: str, **query: object) -> int:
    """All items of a list, page by page."""
    found, page = 0, demo.get(path, limit=500, **query)
    while True:
        found += len(page["items"])
        if page["next"] is None:
            return found
        page = demo.get(path, limit=500, after=page["next"], **query)


def test_two_months_of_two_hundred_subscribers_are_there_on_day_one_and_stay(tmp_path: Path) -> None:
    demo = Demo(tmp_path, subscribers=SUBSCRIBERS, days=DAYS, first_start_s=900)
    try:
        demo.start()
        assert count(demo, "/customers") == SUBSCRIBERS
        assert count(demo, "/orders", state="held") == 1
        assert count(demo, "/orders", state="completed") >= SUBSCRIBERS - 1
        invoices = count(demo, "/invoices")
        assert invoices > SUBSCRIBERS
        demo.until(lambda: count(demo, "/sessions", state="live") > SUBSCRIBERS * 0.8, 60)
        line = demo.run("line")
        assert line.returncode == 0, line.stdout + line.stderr + demo.said()
        assert count(demo, "/invoices") == invoices + 1
        assert sum(Decimal(a["balance"]["amount"]) for a in demo.get("/trial-balance")["accounts"]) == 0
        demo.interrupt()
        demo.start()
        assert count(demo, "/invoices") == invoices + 1
        demo.until(lambda: count(demo, "/sessions", state="live") > SUBSCRIBERS * 0.8, 60)
        demo.interrupt()
    finally:
        demo.close()
