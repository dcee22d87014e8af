"""The demo's port: the same every time, as long as nobody else has it."""

import socket
from pathlib import Path

from instabot.demo import HOST, Demo, choose_port


def test_the_port_of_the_last_time_is_used_again_while_it_is_free(tmp_path: Path) -> None:
    note = tmp_path / "port"
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        note.write_text(str(taken.getsockname()[1]))
        other = choose_port(note)
        assert other != taken.getsockname()[1]
    assert int(note.read_text()) == other
    assert choose_port(note) == other


def test_a_damaged_note_is_no_obstacle(tmp_path: Path) -> None:
    note = tmp_path / "port"
    for text in ("", "x", "-1", "99999999"):
        note.write_text(text)
        assert 0 < choose_port(note) < 65536


def test_it_is_said_how_to_talk_to_the_bot(tmp_path: Path) -> None:
    lines: list[str] = []
    demo = Demo(tmp_path, lines.append)
    demo._explain("instabot")
    assert any("irssi" in line for line in lines)
    assert any("weechat" in line for line in lines)
    assert lines[-1] == f"irc://127.0.0.1:{demo.port}/#demo"
    assert str(demo.port) in demo.arguments()
