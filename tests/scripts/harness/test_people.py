"""The witness reads what IRC servers send, whatever else is in the chunk."""

from scripts.harness.checks import Move, Seen
from scripts.harness.people import Witness


def heard(*lines: str) -> Witness:
    witness = Witness()
    witness.hear("".join(f"{line}\r\n" for line in lines).encode())
    return witness


def plain(seen: list[Seen]) -> list[tuple[str, str, int, str]]:
    return [(line.room, line.kind, line.number, line.text) for line in seen]


def test_questions_and_answers_are_told_apart_by_who_speaks() -> None:
    witness = heard(
        ":talker1!~t@127.0.0.1 PRIVMSG #a :!ping 7",
        ":instabot!~i@127.0.0.1 PRIVMSG #a :pong 7",
        "@msgid=1;time=x :instabot!~i@127.0.0.1 PRIVMSG #b :pong 8",
        ":instabot!~i@127.0.0.1 PRIVMSG #b pong",
        ":instabot_!~i@127.0.0.1 PRIVMSG #b :sorry, that failed: pong 9",
    )
    assert plain(witness.seen) == [
        ("#a", "ask", 7, ""),
        ("#a", "reply", 7, ""),
        ("#b", "reply", 8, ""),
        ("#b", "other", 0, "<instabot> pong"),
        ("#b", "other", 0, "<instabot_> sorry, that failed: pong 9"),
    ]
    assert (witness.asked, witness.answered) == (1, 2)


def test_only_the_bots_moves_are_noted() -> None:
    witness = heard(
        ":talker1!t@h JOIN :#a",
        ":witness!w@h JOIN #a",
        ":instabot!i@h JOIN :#a",
        ":instabot!i@h JOIN #b * :real name",
        ":instabot!i@h PART #b :bye",
        ":alice!a@h KICK #a instabot :out",
        ":alice!a@h KICK #a talker1 :out",
        ":instabot!i@h QUIT :Connection reset by peer",
        ":irc.example.test 353 witness = #a :JOIN instabot",
    )
    assert [(move.kind, move.room) for move in witness.moves] == [
        ("JOIN", "#a"),
        ("JOIN", "#b"),
        ("PART", "#b"),
        ("KICK", "#a"),
        ("QUIT", ""),
    ]
    assert isinstance(witness.moves[0], Move)
