"""How an operator names a room."""

import pytest

from instabot.broker.views import pick
from instabot.errors import BadInput
from instabot.model import Room


def room(number: str, network: str, name: str) -> Room:
    return Room(id=number, network=f"local/{network}", tenant="local", name=name)


ROOMS = [
    room("1.aaaaaa", "libera", "#ops"),
    room("2.bbbbbb", "oftc", "#ops"),
    room("2.cccccc", "oftc", "#Dev"),
    room("3.dddddd", "oftc", "##c"),
    room("4.eeeeee", "xmpp", "team@conf/x"),
]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.aaaaaa", "1.aaaaaa"),
        ("libera/#ops", "1.aaaaaa"),
        ("oftc/ops", "2.bbbbbb"),
        ("#Dev", "2.cccccc"),
        ("dev", "2.cccccc"),
        ("##c", "3.dddddd"),
        ("team@conf/x", "4.eeeeee"),
        ("xmpp/team@conf/x", "4.eeeeee"),
    ],
)
def test_a_room_is_its_id_its_network_and_name_or_a_name_that_is_unique(
    text: str, number: str
) -> None:
    assert pick(ROOMS, text).id == number


def test_a_name_that_is_not_unique_is_answered_with_the_ways_to_say_it() -> None:
    with pytest.raises(BadInput, match="libera/#ops, oftc/#ops"):
        pick(ROOMS, "ops")


@pytest.mark.parametrize("text", ["", "nope", "libera/nope", "nope/#ops", "#"])
def test_a_room_that_is_not_there_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput, match="there is no room"):
        pick(ROOMS, text)
