"""URLs of networks and rooms, as people type them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot import endpoint
from instabot.errors import BadInput


@pytest.mark.parametrize(
    ("text", "url", "rooms"),
    [
        ("irc://h/#room", "irc://h", ("#room",)),
        ("ircs://nick@h:7000/#room", "ircs://nick@h:7000", ("#room",)),
        ("irc://h/room", "irc://h", ("#room",)),
        ("irc://h/##c", "irc://h", ("##c",)),
        ("irc://h/&local", "irc://h", ("&local",)),
        ("irc://h/#a,b", "irc://h", ("#a", "#b")),
        ("irc://h/%23room", "irc://h", ("#room",)),
        ("irc://[::1]:7/#a", "irc://[::1]:7", ("#a",)),
        ("irc://h", "irc://h", ()),
        ("xmpp://me@host/room@conf.host", "xmpp://me@host", ("room@conf.host",)),
    ],
)
def test_a_url_names_a_network_and_its_rooms(
    text: str, url: str, rooms: tuple[str, ...]
) -> None:
    found = endpoint.parse(text)
    assert (found.url, found.rooms) == (url, rooms)


def test_settings_may_stand_before_or_behind_the_room() -> None:
    for text in ("irc://h/?rate=0&nick=bot#room", "irc://h/#room?rate=0&nick=bot"):
        found = endpoint.parse(text)
        assert found.rooms == ("#room",)
        assert found.settings == {"rate": "0", "nick": "bot"}


def test_a_password_is_taken_out_of_the_url() -> None:
    found = endpoint.parse("ircs://me:p%40ss@h/#room")
    assert (found.url, found.user, found.secret) == ("ircs://me@h", "me", "p@ss")
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#room",
        "h/#room",
        "irc://",
        "irc:///#room",
        "irc://h:port/#a",
        "irc://h:99999/#a",
        "irc://[::1/#a",
        "irc://h/#a%0d%0aQUIT",
        "irc://h/#a%20b",
        "irc://h/#a?rate=fast",
        "irc://h/#a?colour=red",
        "irc://h/#a?port=0",
        "irc://h/#a?port=70000",
        "irc://h/#a?nick=a%00b",
        "irc://h/#a?sasl=maybe",
        "irc://h/#a?tls_verify=perhaps",
    ],
)
def test_a_url_with_a_mistake_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        endpoint.parse(text)


@given(st.text())
def test_any_text_is_a_url_or_a_clear_error(text: str) -> None:
    for candidate in (text, f"irc://{text}", f"irc://h/{text}"):
        try:
            found = endpoint.parse(candidate)
        except BadInput:
            continue
        assert all(room.isprintable() and " " not in room for room in found.rooms)
        assert endpoint.parse(found.url).url == found.url


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("irc.libera.chat", "libera"),
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("chat.acme.example", "acme"),
        ("::1", "1"),
    ],
)
def test_a_network_is_named_after_its_host(host: str, name: str) -> None:
    assert endpoint.name_for(host) == name
    assert endpoint.check_name(name) == name


def test_a_name_that_would_break_an_id_is_refused() -> None:
    for name in ("", "a/b", "a b", "-a", "a" * 64, "a\n", "ü"):
        with pytest.raises(BadInput):
            endpoint.check_name(name)
