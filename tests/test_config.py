"""Settings: which source wins, and what a wrong value is answered with."""

import os
from pathlib import Path

import pytest

from instabot import config
from instabot.errors import BadInput


def wrong(flags: dict[str, str | None], env: dict[str, str]) -> str:
    with pytest.raises(BadInput) as caught:
        config.load(flags, env)
    return str(caught.value)


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    tmp_path: Path,
) -> None:
    env = {"INSTABOT_DATA": str(tmp_path)}
    assert config.load({}, env).prefix == "!"
    (tmp_path / "instabot.toml").write_text('prefix = "?"\nspool = "2MB"\nroom_log = false\n')
    assert config.load({}, env).prefix == "?"
    assert config.load({}, {**env, "INSTABOT_PREFIX": "~"}).prefix == "~"
    assert config.load({"prefix": "+"}, {**env, "INSTABOT_PREFIX": "~"}).prefix == "+"
    settings = config.load({"prefix": None}, env)
    assert (settings.prefix, settings.spool, settings.room_log) == ("?", 2_000_000, False)


def test_the_contract_s_variables_are_read(tmp_path: Path) -> None:
    settings = config.load(
        {},
        {
            "INSTABOT_DATA": str(tmp_path),
            "INSTABOT_REDIS_URL": "redis://h:1/2",
            "INSTABOT_REDIS_SERVER": "/opt/redis",
            "INSTABOT_STORE_URL": "postgresql://u@h/db",
            "INSTABOT_KEY_FILE": "/k",
            "INSTABOT_LOG": "json",
            "NO_COLOR": "1",
        },
    )
    assert settings.redis == "redis://h:1/2"
    assert settings.redis_server == "/opt/redis"
    assert settings.store == "postgresql://u@h/db"
    assert settings.key_file == Path("/k")
    assert (settings.log, settings.color) == ("json", False)


def test_everything_lies_in_the_data_folder_by_default(tmp_path: Path) -> None:
    settings = config.load({"data": str(tmp_path)}, {})
    assert settings.key_file == tmp_path / "key"
    assert settings.store == f"sqlite:///{tmp_path}/instabot.db"
    assert settings.redis == ""
    assert settings.shards == 16


def test_the_data_folder_is_the_xdg_one_unless_that_is_relative() -> None:
    assert config.load({}, {"XDG_DATA_HOME": "/x"}).data == Path("/x/instabot")
    home = Path("~/.local/share/instabot").expanduser()
    assert config.load({}, {"XDG_DATA_HOME": "x"}).data == home
    assert config.load({}, {}).data == home


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis", "http://h"),
        ("redis", "localhost:6379"),
        ("redis", "redis://h:port"),
        ("store", "mysql://h/x"),
        ("log", "xml"),
        ("prefix", ""),
        ("prefix", "bot"),
        ("prefix", "\x1b"),
        ("spool", "lots"),
        ("spool", "10"),
        ("spool", "-1"),
        ("redis_memory", "1MB"),
        ("retention", "5"),
        ("retention", "nan"),
        ("messages_cap", "1e9"),
        ("shards", "0"),
        ("shards", "1025"),
        ("lease_ttl", "0"),
        ("room_log", "maybe"),
        ("id", "a:b"),
        ("key_file", ""),
    ],
)
def test_a_wrong_value_is_refused_with_its_flag_and_what_is_allowed(
    tmp_path: Path, name: str, value: str
) -> None:
    said = wrong({"data": str(tmp_path), name: value}, {})
    assert said.startswith(f"--{name.replace('_', '-')} is {value!r}; allowed is ")


def test_the_source_of_a_wrong_value_is_named(tmp_path: Path) -> None:
    env = {"INSTABOT_DATA": str(tmp_path)}
    assert wrong({}, {**env, "INSTABOT_LOG": "xml"}).startswith("$INSTABOT_LOG is 'xml'")
    (tmp_path / "instabot.toml").write_text("shards = 0")
    assert wrong({}, env).startswith(f"{tmp_path}/instabot.toml, key shards is '0'")


def test_a_password_in_a_wrong_url_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in wrong({"redis": "http://me:hunter2@h"}, {})


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("colour = 1", "there is no key 'colour'; known are"),
        ("id = 'x'", "there is no key 'id'"),
        ("prefix = [1]", "key prefix must be a text"),
        ("prefix =", "is not TOML"),
        ("\udcff", "is not TOML"),
    ],
)
def test_a_file_with_a_mistake_is_refused(tmp_path: Path, text: str, part: str) -> None:
    file = tmp_path / "instabot.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    said = wrong({"data": str(tmp_path)}, {})
    assert str(file) in said
    assert part in said


def test_a_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "instabot.toml").mkdir()
    assert "cannot be read" in wrong({"data": str(tmp_path)}, {})


def test_an_empty_variable_counts_as_unset_but_an_empty_flag_is_wrong(tmp_path: Path) -> None:
    assert config.load({"data": str(tmp_path)}, {"INSTABOT_LOG": ""}).log == "text"
    assert "--data is ''" in wrong({"data": ""}, {})


def test_a_new_data_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = config.make_data(tmp_path / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700


def test_an_empty_folder_is_made_private_and_a_used_one_keeps_its_mode(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty", tmp_path / "used"
    for folder in (empty, used):
        folder.mkdir()
        folder.chmod(0o755)
    (used / "file").touch()
    config.make_data(empty)
    config.make_data(used)
    assert empty.stat().st_mode & 0o777 == 0o700
    assert used.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    tmp_path.chmod(0o777)
    with pytest.raises(BadInput, match="chmod 700"):
        config.make_data(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(BadInput, match="cannot be used"):
        config.make_data(tmp_path / "x")


def test_a_service_without_an_id_gets_one_of_its_own(tmp_path: Path) -> None:
    settings = config.load({"data": str(tmp_path)}, {})
    named = config.for_service(settings, "runtime", "unix:///s")
    assert named.redis == "unix:///s"
    assert named.id.startswith("runtime-")
    assert named.id.endswith(f"-{os.getpid()}")
    again = config.for_service(config.load({"id": "r1"}, {}), "runtime", "unix:///s")
    assert again.id == "r1"
