"""Fixtures: the files that the tests' configurations name."""

from pathlib import Path

import pytest

from tests.config import LISTENER, SECRET


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "fedora.toml").write_text(LISTENER)
    (tmp_path / "exists").write_text(f"{SECRET}\n")
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "latin1").write_bytes(b"p\xe4ssword")
    monkeypatch.chdir(tmp_path)
    return Path()
