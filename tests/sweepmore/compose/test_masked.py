"""A secret in a URL that cannot be read is repeated nowhere."""

from __future__ import annotations

import sys

import pytest

import train
from sweepmore.compose import cli
from sweepmore.compose.overrides import read_overrides
from sweepmore.errors import ConfigError, masked

URLS = [
    "postgresql://me@127.0.0.1:9/x?password=SECRET",
    "postgresql://me@127.0.0.1:9/x?sslmode=require&sslpassword=SECRET",
    "postgresql://me:SECRET@127.0.0.1:9/x",
    "mysql://h/x?PASSWD=SECRET&charset=utf8",
]


@pytest.mark.parametrize("url", URLS)
def test_whoever_prints(url: str) -> None:
    word = f"hydra.sweeper.storage={url}"
    assert "SECRET" not in masked(f"Hydra cannot read {word}: mismatched input '='.")
    with pytest.raises(ConfigError) as refused:
        read_overrides([word + "="], {})
    assert "SECRET" not in str(refused.value)
    assert "input '='" in str(refused.value)  # the reason stays


@pytest.mark.parametrize("url", URLS[:2])
def test_the_command(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train.py", "-m", "model.emb=1,2", f"hydra.sweeper.storage={url}"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        cli.hydra_app(train.main)
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "SECRET" not in said.err + said.out
    assert "password=…" in said.err


def test_what_is_no_secret_stays() -> None:
    assert masked("optim.password=1 ?sslmode=require") == "optim.password=1 ?sslmode=require"
