"""Logs: two forms, and no secret in either."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from instabot import config, logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


def logged(form: str, tmp_path: Path) -> tuple[io.StringIO, structlog.stdlib.BoundLogger]:
    stream = io.StringIO()
    logs.set_up(config.load({"data": str(tmp_path), "log": form}, {}), stream)
    return stream, structlog.get_logger()


@pytest.mark.parametrize(
    "text",
    [
        "PASS hunter2",
        "> PASS :hunter2",
        "AUTHENTICATE hunter2",
        "PRIVMSG NickServ :IDENTIFY bot hunter2",
        "identify hunter2",
        "dialling ircs://me:hunter2@irc.example.org",
        "redis://:hunter2@h:6379/0",
        'settings: {"password": "hunter2"}',
        "token=hunter2",
        "Authorization: Bearer hunter2",
        "sealed gAAAAA" + "hunter2" * 15 + "==",
    ],
)
def test_a_secret_in_a_text_is_struck_out(text: str) -> None:
    assert "hunter2" not in logs.strike(text)
    assert logs.STRUCK in logs.strike(text)


@pytest.mark.parametrize(
    "text",
    ["the test did pass", "AUTHENTICATE PLAIN", "user@host joined #ops", "ircs://me@h/#room"],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert logs.strike(text) == text


def test_a_field_named_like_a_secret_is_struck_out_whatever_it_holds(tmp_path: Path) -> None:
    stream, log = logged("json", tmp_path)
    log.info(
        "dialling", secret="hunter2", redis_password="hunter2", detail={"token": "hunter2"}
    )
    row = json.loads(stream.getvalue())
    assert row["event"] == "dialling"
    assert "hunter2" not in stream.getvalue()


def test_a_traceback_holds_no_secret_either(tmp_path: Path) -> None:
    for form in ("json", "text"):
        stream, log = logged(form, tmp_path)
        try:
            raise ValueError("cannot dial ircs://me:hunter2@h")
        except ValueError:
            log.exception("broken")
            logging.getLogger("library").exception("broken too")
        assert "ValueError" in stream.getvalue()
        assert "hunter2" not in stream.getvalue()


def test_a_line_of_text_cannot_command_the_terminal(tmp_path: Path) -> None:
    stream, log = logged("text", tmp_path)
    log.info("heard \x1b[2J", text="a\x1b]0;x\x07\nb")
    assert "\x1b" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1


def test_warnings_of_libraries_come_the_same_way(tmp_path: Path) -> None:
    stream, _ = logged("json", tmp_path)
    logging.getLogger("asyncio").warning("slow callback password=%s", "hunter2")
    logging.getLogger("asyncio").info("chatter")
    (row,) = map(json.loads, stream.getvalue().splitlines())
    assert row["event"] == f"slow callback password={logs.STRUCK}"
    assert row["level"] == "warning"
