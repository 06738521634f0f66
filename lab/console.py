"""What the lab tells the person who started it: progress on long work, sentences for what happens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

console = Console(highlight=False, soft_wrap=True)


def say(message: str) -> None:
    console.print(message, markup=False)


class Bar:
    """One long work's progress: a bar on a terminal, a line now and then where there is none."""

    def __init__(self, progress: Progress | None, task: TaskID | None, total: float) -> None:
        self._progress, self._task, self._total = progress, task, total
        self._last_tenth = 0

    def to(self, done: float, doing: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, doing=doing)
            return
        tenth = int(10 * done / self._total) if self._total else 10
        if tenth > self._last_tenth:
            self._last_tenth = tenth
            say(f"  {10 * tenth} %  {doing}")


@contextmanager
def progress(title: str, total: float) -> Iterator[Bar]:
    if not sys.stdout.isatty():
        say(title)
        yield Bar(None, None, total)
        return
    columns = (
        SpinnerColumn(),
        TextColumn(title),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[doing]}"),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        yield Bar(bars, bars.add_task(title, total=total, doing=""), total)
