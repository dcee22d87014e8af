import pytest

from instabot.errors import BadInput
from instabot.store.url import place_of


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
def test_a_sqlite_url_names_a_file(scheme: str) -> None:
    place = place_of(f"{scheme}:////var/lib/bot/store.db")
    assert str(place.path) == place.label == "/var/lib/bot/store.db"
    assert place.url.drivername == "sqlite+aiosqlite"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_a_postgresql_url_shows_no_password(scheme: str) -> None:
    pytest.importorskip("asyncpg")
    place = place_of(f"{scheme}://bot:geheim@db.example/bot?sslmode=require")
    assert place.path is None
    assert place.url.drivername == "postgresql+asyncpg"
    assert place.url.query == {"ssl": "require"}
    assert place.url.password == "geheim"
    assert place.label == "postgresql://bot:***@db.example/bot?ssl=require"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "cannot be read"),
        ("store.db", "cannot be read"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite://host/store.db", "needs a file"),
        ("sqlite:///store.db?mode=ro", "needs a file"),
        ("mysql://bot@db/bot", "cannot begin with 'mysql'"),
        ("postgresql+psycopg://bot@db/bot", "cannot begin with"),
        ("postgresql://bot:geheim@db:port/bot", "cannot be read"),
        ("postgresql://bot:geheim@db", "names no database"),
        ("postgresql://bot:geheim@db/bot?password=geheim", "may not say 'password'"),
    ],
)
def test_a_wrong_url_is_told_what_to_write(url: str, why: str) -> None:
    pytest.importorskip("asyncpg")
    with pytest.raises(BadInput, match=why) as caught:
        place_of(url)
    assert "geheim" not in str(caught.value)


def test_postgresql_without_its_driver_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("instabot.store.url.find_spec", lambda _name: None)
    with pytest.raises(BadInput, match=r"pip install 'instabot\[postgres\]'"):
        place_of("postgresql://db/bot")
