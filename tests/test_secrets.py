import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from instabot.errors import BadInput
from instabot.secrets import Keyring


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key file will be."""
    return tmp_path / "data" / "key"


@pytest.fixture
def ring(path: Path) -> Keyring:
    """A keyring with one fresh key."""
    return Keyring.load(path, create=True)


def seal(ring: Keyring, text: str = "geheim") -> str:
    return ring.seal(text, network="local/libera", host="irc.libera.chat", port=6697)


def unseal(ring: Keyring, sealed: str) -> str:
    return ring.open(sealed, network="local/libera", host="irc.libera.chat", port=6697)


def test_a_sealed_secret_opens_and_shows_nothing(ring: Keyring) -> None:
    sealed = seal(ring)
    assert "geheim" not in sealed
    assert seal(ring) != sealed
    assert unseal(ring, sealed) == "geheim"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.text(), st.text(), st.integers())
def test_any_secret_opens_where_it_was_sealed(
    ring: Keyring, secret: str, network: str, host: str, port: int
) -> None:
    sealed = ring.seal(secret, network=network, host=host, port=port)
    assert ring.open(sealed, network=network, host=host, port=port) == secret


def test_no_secret_stays_no_secret(ring: Keyring) -> None:
    assert seal(ring, "") == ""
    assert unseal(ring, "") == ""
    assert ring.rotate("") == ""


@pytest.mark.parametrize(
    ("network", "host", "port"),
    [
        ("acme/libera", "irc.libera.chat", 6697),
        ("local/libera", "evil.example", 6697),
        ("local/libera", "irc.libera.chat", 6667),
        ("", "", 0),
    ],
)
def test_a_secret_opens_for_no_other_place(
    ring: Keyring, network: str, host: str, port: int
) -> None:
    with pytest.raises(BadInput, match=r"is sealed for .* enter it again") as caught:
        ring.open(seal(ring), network=network, host=host, port=port)
    assert "geheim" not in str(caught.value)


def test_a_hosts_spelling_does_not_matter(ring: Keyring) -> None:
    sealed = seal(ring)
    found = ring.open(sealed, network="local/libera", host="IRC.Libera.Chat.", port=6697)
    assert found == "geheim"


@pytest.mark.parametrize("damage", ["geheim", "gAAAA", "é", "\ud800", "\x00", "x" * 100_000])
def test_what_is_not_sealed_is_refused_and_not_shown(ring: Keyring, damage: str) -> None:
    for verb in (partial(unseal, ring), ring.rotate):
        with pytest.raises(BadInput, match="damaged, or its key is not in") as caught:
            verb(damage)
        assert damage not in str(caught.value)
        assert caught.value.__suppress_context__


def test_one_changed_letter_is_noticed(ring: Keyring) -> None:
    sealed = seal(ring)
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    with pytest.raises(BadInput):
        unseal(ring, sealed[:middle] + other + sealed[middle + 1 :])


def test_a_token_of_our_key_that_is_no_secret_is_refused(ring: Keyring, path: Path) -> None:
    for body in (b"", b"{}", b"geheim", b'{"network":1}'):
        with pytest.raises(BadInput, match="damaged"):
            unseal(ring, Fernet(path.read_text().strip()).encrypt(body).decode())


def test_text_that_is_not_unicode_cannot_be_sealed(ring: Keyring) -> None:
    with pytest.raises(BadInput, match="not valid Unicode") as caught:
        seal(ring, "geheim\ud800")
    assert "geheim" not in str(caught.value)


def test_another_files_key_does_not_open(ring: Keyring, tmp_path: Path) -> None:
    other = Keyring.load(tmp_path / "other", create=True)
    with pytest.raises(BadInput, match="its key is not in"):
        unseal(other, seal(ring))


def test_a_new_key_seals_and_the_old_one_still_opens(ring: Keyring, path: Path) -> None:
    old_file = path.read_text()
    sealed = seal(ring)
    ring.add_key()
    assert path.read_text().splitlines()[1:] == old_file.splitlines()
    assert unseal(ring, sealed) == "geheim"
    rotated = ring.rotate(sealed)
    assert unseal(ring, rotated) == "geheim"
    path.write_text(path.read_text().splitlines()[0])  # the old key is thrown away
    alone = Keyring.load(path)
    assert unseal(alone, rotated) == "geheim"
    with pytest.raises(BadInput):
        unseal(alone, sealed)


def test_rotation_keeps_the_binding(ring: Keyring) -> None:
    ring.add_key()
    with pytest.raises(BadInput, match="sealed for"):
        ring.open(ring.rotate(seal(ring)), network="local/libera", host="evil", port=6697)


def test_another_process_takes_a_new_key_up_when_it_meets_it(ring: Keyring, path: Path) -> None:
    runtime = Keyring.load(path)
    ring.add_key()
    assert unseal(runtime, seal(ring)) == "geheim"
    assert unseal(ring, runtime.rotate(seal(ring))) == "geheim"


def test_two_who_add_a_key_at_once_lose_none(ring: Keyring, path: Path) -> None:
    before = path.read_text()
    path.with_name("key.new").touch()
    with pytest.raises(BadInput, match=r"remove .*key\.new"):
        ring.add_key()
    assert path.read_text() == before
    path.with_name("key.new").unlink()
    ring.add_key()
    assert len(path.read_text().splitlines()) == 2
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_the_key_file_is_for_its_owner_alone(ring: Keyring, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    ring.add_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_a_strange_umask_changes_nothing(path: Path) -> None:
    old = os.umask(0o777)
    try:
        path.parent.mkdir()
        path.parent.chmod(0o700)
        Keyring.load(path, create=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_of_many_who_create_it_at_once_all_get_the_same_key(path: Path) -> None:
    start = threading.Barrier(8)
    rings: list[Keyring] = []

    def create() -> None:
        start.wait()
        rings.append(Keyring.load(path, create=True))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rings) == 8
    assert all(unseal(ring, seal(rings[0])) == "geheim" for ring in rings)
    assert [file.name for file in path.parent.iterdir()] == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_open_to_others_is_refused(ring: Keyring, path: Path, mode: int) -> None:
    path.chmod(mode)
    for create in (True, False):
        with pytest.raises(BadInput, match=f"chmod 600 {path}"):
            Keyring.load(path, create=create)


def test_a_missing_file_says_how_to_get_one(path: Path) -> None:
    with pytest.raises(BadInput, match="INSTABOT_KEY_FILE"):
        Keyring.load(path)
    assert not path.exists()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        Keyring.load(tmp_path)
    with pytest.raises(BadInput):
        Keyring.load(tmp_path, create=True)
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot make the key file"):
        Keyring.load(tmp_path / "file" / "key", create=True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "holds no key"),
        (b"# nothing\n\n", "holds no key"),
        (b"geheim\n", "line 1 of .* is not a key"),
        (b"\xff\xfe\n", "line 1 of .* is not a key"),
        (b"%s=\ngeheim\n" % (b"k" * 43), "line 2 of .* is not a key"),
        (b"x" * 100_000, "too large"),
    ],
)
def test_a_malformed_file_is_refused_and_not_shown(path: Path, text: bytes, why: str) -> None:
    path.parent.mkdir()
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(BadInput, match=why) as caught:
        Keyring.load(path)
    assert "geheim" not in str(caught.value)


def test_comments_and_windows_line_ends_are_read(ring: Keyring, path: Path) -> None:
    sealed = seal(ring)
    path.write_bytes(b"# keep safe\r\n\r\n" + path.read_bytes().strip() + b"\r\n")
    assert unseal(Keyring.load(path), sealed) == "geheim"


def test_a_keyring_shows_no_key(ring: Keyring, path: Path) -> None:
    assert path.read_text().strip() not in repr(ring)
    assert repr(ring) == f"Keyring({str(path)!r}, 1 keys)"
