"""A network's URL and settings."""

import pytest

from instabot.adapters.base import Account
from instabot.adapters.irc.settings import Settings, read
from instabot.errors import Refused


def of(url: str, **settings: str) -> Settings:
    return read(Account("local/net", url, settings))


def test_the_url_says_where_and_who() -> None:
    settings = of("ircs://acmebot@irc.example.test")
    assert (settings.host, settings.port, settings.tls) == ("irc.example.test", 6697, True)
    assert settings.nick == "acmebot"
    assert settings.sasl == "none"
    assert of("irc://irc.example.test").port == 6667
    assert of("irc://irc.example.test").nick == "instabot"
    assert of("irc://[::1]:6000/#ops").host == "::1"


def test_settings_win_over_the_url_and_its_query() -> None:
    settings = of("ircs://a@one.test:7000?nick=b&port=7001", port="7002", host="10.0.0.1")
    assert (settings.nick, settings.port, settings.host) == ("b", 7002, "10.0.0.1")
    assert settings.name == "one.test"


def test_an_account_means_sasl() -> None:
    assert of("ircs://a@h", user="acme").sasl == "plain"
    assert of("ircs://a@h", user="acme").user == "acme"
    assert of("ircs://a@h", sasl="plain").user == "a"


def test_a_spare_link_has_another_nick() -> None:
    assert read(Account("local/net", "irc://bot@h", spare=2)).nick == "bot3"


@pytest.mark.parametrize(
    ("url", "settings", "text"),
    [
        ("http://h", {}, "irc://"),
        ("irc://", {}, "names no host"),
        ("irc://h:99999", {}, "cannot be read"),
        ("irc://h:x", {}, "cannot be read"),
        ("irc://a:pw@h", {}, "secret"),
        ("irc://h", {"port": "0"}, "port=0"),
        ("irc://h", {"port": "9" * 5000}, "not a number"),
        ("irc://h", {"port": "²"}, "not a number"),
        ("irc://h", {"tls_verify": "perhaps"}, "tls_verify=perhaps"),
        ("irc://h", {"sasl": "scram"}, "sasl=scram"),
        ("irc://h", {"sasl": "external"}, "cert_file"),
        ("irc://h", {"encoding": "utf-16"}, "encoding=utf-16"),
        ("irc://h", {"encoding": "klingon"}, "encoding=klingon"),
        ("irc://h", {"nick": "a b"}, "nick"),
        ("irc://h", {"nick": "a\rQUIT"}, "nick"),
        ("irc://h", {"nick": "1abc"}, "nick"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(
    url: str, settings: dict[str, str], text: str
) -> None:
    with pytest.raises(Refused, match=text) as caught:
        of(url, **settings)
    assert caught.value.code == "config"


def test_a_password_never_travels_readable_unless_allowed() -> None:
    with pytest.raises(Refused, match="unencrypted"):
        of("irc://h").may_send_secret()
    of("irc://h", allow_plaintext_password="true").may_send_secret()
    of("ircs://h").may_send_secret()
