"""The key file: made once for its owner alone, and refused in words where it cannot be trusted or read."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.errors import RuleError
from controller.domain.ports import Secret
from controller.store.secrets import load_or_create


def test_the_key_is_made_once_with_mode_0600_and_opens_what_it_sealed(tmp_path: Path) -> None:
    path = tmp_path / "headend.key"
    sealed = load_or_create(path).seal(Secret("testing123"), "nas:1")
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create(path).open(sealed, "nas:1").reveal() == "testing123"


@pytest.mark.parametrize("content", ["xx", "not base64 at all!", "c2hvcnQ=", "ä" * 44])
def test_a_file_that_holds_no_key_is_named_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "headend.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(RuleError, match=f"{path} holds what is no key"):
        load_or_create(path)
    assert path.read_text() == content


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "headend.key"
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(RuleError, match="chmod 600"):
        load_or_create(path)
