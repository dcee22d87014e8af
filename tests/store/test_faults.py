import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError

from instabot.errors import BadInput, InstabotError, Unreachable
from instabot.store.faults import faults


class _Refusal(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("secret parameters")
        self.sqlstate = sqlstate


def _sqlite(name: str) -> sqlite3.Error:
    error = sqlite3.OperationalError("secret parameters")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (_sqlite("SQLITE_BUSY_SNAPSHOT"), Unreachable, "locked"),
        (_sqlite("SQLITE_FULL"), Unreachable, "disk is full"),
        (_sqlite("SQLITE_IOERR_WRITE"), Unreachable, "disk reports an error"),
        (_sqlite("SQLITE_READONLY"), Unreachable, "cannot be written"),
        (_sqlite("SQLITE_CANTOPEN"), Unreachable, "cannot be opened"),
        (_sqlite("SQLITE_CORRUPT"), Unreachable, "restore it from a backup"),
        (_sqlite("SQLITE_NOTADB"), BadInput, "not a SQLite database"),
        (_Refusal("53100"), Unreachable, "out of disk"),
        (_Refusal("57P01"), Unreachable, "stopping"),
        (_Refusal("08006"), Unreachable, "connection failed"),
        (_Refusal("40P01"), Unreachable, "each other's way"),
        (_Refusal(None), Unreachable, "connection failed"),
        (_Refusal("28P01"), BadInput, "refuses the login"),
        (_Refusal("3D000"), BadInput, "no such database"),
        (_Refusal("42501"), BadInput, "grant it rights"),
    ],
)
def test_a_databases_complaint_says_what_to_do_next(
    error: Exception, kind: type[InstabotError], text: str
) -> None:
    with pytest.raises(kind, match=text) as caught, faults("LABEL"):
        raise DBAPIError("SELECT 1", {}, error)
    assert "LABEL" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_nobody_listening_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="does not answer"), faults("LABEL"):
        raise ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(Unreachable, match="no answer in time"), faults("LABEL"):
        raise TimeoutError


def test_what_is_our_own_mistake_stays_what_it_is() -> None:
    for error in (
        IntegrityError("INSERT", {}, _Refusal("23505")),
        DBAPIError("INSERT", {}, _sqlite("SQLITE_ERROR")),
        InvalidRequestError("twice"),
        KeyError("x"),
    ):
        with pytest.raises(type(error)) as caught, faults("LABEL"):
            raise error
        assert caught.value is error
