"""Networks and rooms from the command line, against a whole `up` and a real IRC server."""

import signal
from pathlib import Path

from tests.chat import Chat
from tests.servers import IrcServer
from tests.whole import Up, instabot, up


async def test_a_room_s_life(tmp_path: Path, ngircd: IrcServer) -> None:
    alice = await Chat.connect(ngircd.port, "alice")
    await alice.join("#ops")
    async with up(tmp_path / "d") as one:
        # join by URL makes the network; joining twice is no error
        for _ in range(2):
            result = await one.run("join", f"{ngircd.url}/#ops?rate=0&nick=acmebot")
            assert result.code == 0, result
            assert result.out.startswith("joined   127.0.0.1/#ops (")
        await alice.expect("#ops acmebot joined")

        # one of three names for a room
        (row,) = (await one.run("rooms", "--json")).json
        assert (row["network"], row["name"], row["state"]) == ("127.0.0.1", "#ops", "joined")
        for name in (row["id"], "127.0.0.1/#ops", "ops"):
            result = await one.run("say", name, f"hello by {name}")
            assert (result.code, result.out, result.err) == (0, "", "")
            await alice.expect(f"#ops <acmebot> hello by {name}")

        # further rooms by name, from a file, with --json
        (tmp_path / "rooms.txt").write_text("#a\n\nb\n")
        result = await one.run(
            "join", "127.0.0.1", "--file", str(tmp_path / "rooms.txt"), "--json"
        )
        assert [(row["name"], row["state"]) for row in result.json] == [
            ("#a", "joined"),
            ("#b", "joined"),
        ]
        listed = (await one.run("rooms", "--filter", "127 joined #a")).out
        assert "127.0.0.1/#a" in listed
        assert "#b" not in listed

        # leaving
        assert (await one.run("part", "a", "127.0.0.1/#b")).code == 0
        rooms = (await one.run("rooms", "--json")).json
        assert [row["name"] for row in rooms] == ["#ops"]
        network = (await one.run("network", "show", "127.0.0.1", "--json")).json
        assert network["url"] == f"irc://127.0.0.1:{ngircd.port}"
        assert network["settings"] == {"nick": "acmebot", "rate": "0"}
        assert network["secret"] is False
        assert (await one.run("network", "remove", "127.0.0.1")).code == 0
        assert (await one.run("network", "list", "--json")).json == []
    alice.close()


async def test_why_a_room_is_not_joined_is_said_in_one_line(
    tmp_path: Path, ngircd: IrcServer
) -> None:
    alice = await Chat.connect(ngircd.port, "alice")
    for room, mode in (("#inv", "+i"), ("#key", "+k sesame"), ("#ban", "+b *!*@*")):
        await alice.join(room)
        alice.write(f"MODE {room} {mode}")
        await alice.roundtrip()
    async with up(tmp_path / "d") as one:
        refusals = {
            "#inv": "the room is invite only",
            "#key": "the room's key is wrong or missing (--key)",
            "#ban": "the bot is banned",
        }
        for room, why in refusals.items():
            result = await one.run("join", f"{ngircd.url}/{room}?rate=0")
            assert result.code == 1, result
            assert why in result.err
            assert result.err.count("\n") == 1
        assert (await one.run("join", "127.0.0.1", "key", "--key", "sesame")).code == 0

        nobody = await one.run("join", "irc://127.0.0.1:1/#x")
        assert nobody.code == 1
        assert "the server cannot be reached" in nobody.err
        stranger = await one.run("join", f"{ngircd.tls_url}/#x")
        assert stranger.code == 1
        assert "TLS failed" in stranger.err
        trusted = await one.run(
            "join",
            f"{ngircd.tls_url}/#x",
            "--set",
            f"ca_file={ngircd.ca_file}",
            "--set",
            "rate=0",
        )
        assert trusted.code == 0, trusted
    alice.close()


async def test_a_secret_goes_sealed_into_a_network_and_never_out_of_it(
    tmp_path: Path,
) -> None:
    async with up(tmp_path / "d") as one:
        add = ("network", "add", "libera", "ircs://bot@127.0.0.1:1", "--set", "sasl=plain")
        assert (await one.run(*add, "--secret-stdin", stdin=b"hunter2\n")).code == 0
        shown = await one.run("network", "show", "libera")
        assert "secret: sealed" in shown.out
        for args in (("network", "list", "--json"), ("network", "show", "libera", "--json")):
            assert "hunter2" not in (await one.run(*args)).out
        plain = ("network", "add", "plain", "irc://bot:hunter2@127.0.0.1:1")
        refused = await one.run(*plain)
        assert refused.code == 2
        assert "allow_plaintext_password=true" in refused.err
        allowed = await one.run(*plain, "--set", "allow_plaintext_password=true")
        assert allowed.code == 0
        await _no_secret_on_disk(one)


async def _no_secret_on_disk(one: Up) -> None:
    assert await one.stop(signal.SIGTERM) == 0
    for file in one.data.rglob("*"):
        if file.is_file():
            assert b"hunter2" not in file.read_bytes(), file
            assert file.stat().st_mode & 0o077 == 0, file


async def test_mistakes_are_answered_with_what_to_write_instead(tmp_path: Path) -> None:
    async with up(tmp_path / "d") as one:
        mistakes = {
            ("join", "nope", "ops"): "there is no network 'nope'",
            ("join", "irc://h"): "names no room",
            ("join", "irc://h/#a", "b"): "write all rooms as URLs",
            ("join", "irc://h/#a", "--set", "rate"): "write KEY=VALUE",
            ("join", "irc://h/#a", "--set", "x=1"): "there is no setting 'x'",
            ("join", "irc://h/#a", "--secret-file", "/nowhere"): "No such file",
            ("network", "add", "a/b", "irc://h"): "cannot be a network's name",
            ("network", "add", "a", "irc://h/#room"): "names no room; add it, then",
            ("network", "show", "nope"): "there are: none yet",
            ("part", "nope"): "there is no room",
            ("say", "nope", "x"): "there is no room",
            ("say", "nope", " "): "nothing to say",
            ("tail", "nope", "--since", "soon"): "is no time",
            ("dead", "show", "1"): "is not a dead letter's id",
        }
        for args, said in mistakes.items():
            result = await instabot(*args, env=one.env)
            assert (result.code, result.out) == (2, ""), (args, result)
            assert said in result.err, (args, result)
            assert result.err.count("\n") == 1, result
        assert (await one.run("dead", "list")).out == "no dead letters\n"
        assert (await one.run("rooms")).out == "no rooms yet: instabot join URL\n"
        doctor = await one.run("doctor", "--json")
        assert doctor.code == 0, doctor
        assert {row["grade"] for row in doctor.json} == {"ok"}
        status = (await one.run("status", "--json")).json
        assert len(status["runtimes"]) == len(status["backends"]) == 1
