"""A real VictoriaMetrics for tests, on a free port of 127.0.0.1 with its data in a temporary directory."""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.support.ports import free_port


class VictoriaMetrics:
    def __init__(self, directory: Path, *options: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = directory / "log"
        directory.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [
                "victoria-metrics",
                f"-storageDataPath={directory / 'data'}",
                f"-httpListenAddr={self.url.removeprefix('http://')}",
                "-memory.allowedBytes=128MB",
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=self.log.open("wb"),
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=1).close()
                return
            except (URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture(scope="session")
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VictoriaMetrics]:
    """One server per run; tests keep apart by the names of their series."""
    if shutil.which("victoria-metrics") is None:
        pytest.skip("VictoriaMetrics is not installed: apt-get install victoria-metrics")
    server = VictoriaMetrics(
        tmp_path_factory.mktemp("victoria-metrics"),
        "-retentionPeriod=100y",
        "-dedup.minScrapeInterval=1ms",
    )
    try:
        yield server
    finally:
        server.stop()
