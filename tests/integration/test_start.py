"""What `headend serve` makes of the place it is started in: an open directory, a database that does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.controller import Controller


def test_what_is_written_is_the_owners_alone_even_in_an_open_directory(tmp_path: Path) -> None:
    directory = tmp_path / "a place with spaces"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    controller = Controller(directory)
    controller.start()
    try:
        open_to_others = [p.name for p in directory.iterdir() if p.stat().st_mode & 0o077 and p.name != "serve.log"]
    finally:
        assert controller.stop() == 0
    assert (directory / "headend.db").exists()
    assert open_to_others == []


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_unreachable_database_is_said_in_one_line_and_its_password_is_not(command: str, tmp_path: Path) -> None:
    controller = Controller(tmp_path / "data", database_url="postgresql://headend:s3cret-word@127.0.0.1:1/headend")
    refused = controller.command(command)
    controller.stop()
    assert refused.returncode == 2
    assert "127.0.0.1:1/headend" in refused.stderr
    assert "Connection refused" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "s3cret-word" not in refused.stderr + refused.stdout


def test_another_zone_than_that_of_the_books_is_refused_in_one_line(tmp_path: Path) -> None:
    """Billing would count other days than documents, dunning and the ledger, and explain none of its lines."""
    controller = Controller(tmp_path / "data")
    controller.environment["HEADEND_ENTITY_ZONE"] = "Europe/Berlin"
    controller.start()
    assert controller.stop() == 0
    controller.environment["HEADEND_ENTITY_ZONE"] = "Pacific/Tongatapu"
    refused = controller.command("serve")
    assert refused.returncode == 2
    assert "HEADEND_ENTITY_ZONE says Pacific/Tongatapu: set it to Europe/Berlin" in refused.stderr
    assert "Traceback" not in refused.stderr
