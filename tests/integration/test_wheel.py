"""The wheel, installed where there is no Node and no checkout, serves pages, migrations and dictionaries."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx2
import pytest

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, cwd=ROOT)
    return next(out.glob("headend-*.whl"))


def test_the_wheel_holds_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"controller", "radius", "collectors", "drivers", "billing_bridge", "erp"}
    assert any(name.startswith("controller/web/static/vendor/") and name.endswith(".js") for name in names)
    assert any(name.endswith("initial.postgresql.sql") for name in names)


def test_an_installed_wheel_serves_pages_from_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    install = [Path(sys.executable).parent / "uv", "pip", "install", "--quiet", "--python", python]
    run(*install, "--require-hashes", "-r", ROOT / "requirements" / "serve.txt", cwd=tmp_path)
    run(*install, "--no-deps", wheel, cwd=tmp_path)
    port = free_port()
    settings = {
        "PATH": str(environment / "bin"),
        "HEADEND_DATA_DIR": str(tmp_path / "data"),
        "HEADEND_HTTP_PORT": str(port),
        "HEADEND_AUTH_PORT": "0",
        "HEADEND_ACCT_PORT": "0",
    }
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(
        [environment / "bin" / "headend", "serve"], cwd=tmp_path, env=settings, stdout=log, stderr=log
    )
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 150
        while True:
            try:
                if httpx2.get(f"{base}/healthz").status_code == 200:
                    break
            except httpx2.TransportError:
                assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
        page = httpx2.get(f"{base}/login")
        assert page.status_code == 200
        assert "/static/" in page.text
        assert httpx2.get(f"{base}/static/vendor/htmx.min.js").status_code == 200
        assert httpx2.get(f"{base}/openapi.json").json()["openapi"].startswith("3.1")
        dictionary = subprocess.run(
            [python, "-c", "from radius.protocol import dictionary; assert dictionary.number('User-Name')"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert dictionary.returncode == 0, dictionary.stderr
    finally:
        server.terminate()
        assert server.wait(15) == 0, (tmp_path / "log").read_text()
