"""model ↔ bytes: the only file that knows the wire, and its JSON Schema.

JSON, one object each, tagged by `type`, with a version `v` (absent = 1). A reader takes every
version up to its own and ignores fields it does not know, so N reads N-1.
"""

from typing import Any, TypeVar

import msgspec

from instabot.errors import Malformed
from instabot.model import WIRE_VERSION, Answer, Control, Live, Message, Network, Room

MAX_BYTES = 1 << 20
"""Larger entries are dead letters: no chat line and no webhook comes near it."""

_encoder = msgspec.json.Encoder()
encode = _encoder.encode

_message: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_control: msgspec.json.Decoder[Control] = msgspec.json.Decoder(Control)
_answer = msgspec.json.Decoder(Answer)
_network = msgspec.json.Decoder(Network)
_room = msgspec.json.Decoder(Room)
_live = msgspec.json.Decoder(Live)


T = TypeVar("T")


def _read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    if len(data) > MAX_BYTES:
        raise Malformed(f"{len(data)} bytes are more than the {MAX_BYTES} allowed")
    try:
        value = decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        raise Malformed(_reason(error)) from None
    version = getattr(value, "v", WIRE_VERSION)
    if not 1 <= version <= WIRE_VERSION:
        raise Malformed(f"wire version {version} is not one of 1 to {WIRE_VERSION}")
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error) or type(error).__name__


def decode_message(data: bytes) -> Message:
    """Read an entry of the stream `messages`. Raises Malformed."""
    return _read(_message, data)


def decode_control(data: bytes) -> Control:
    """Read an entry of the stream `control`. Raises Malformed."""
    return _read(_control, data)


def decode_answer(data: bytes) -> Answer:
    """Read what the feed says about a Request. Raises Malformed."""
    return _read(_answer, data)


def decode_network(data: bytes) -> Network:
    """Read a network's desired state. Raises Malformed."""
    return _read(_network, data)


def decode_room(data: bytes) -> Room:
    """Read a room's desired state. Raises Malformed."""
    return _read(_room, data)


def decode_live(data: bytes) -> Live:
    """Read a room's live state. Raises Malformed."""
    return _read(_live, data)


def schema() -> dict[str, Any]:
    """The JSON Schema of everything on the wire, as `instabot schema` prints it."""
    kinds = {"Message": Message, "Control": Control, "Answer": Answer}
    roots, components = msgspec.json.schema_components(
        list(kinds.values()), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Instabot wire, version {WIRE_VERSION}",
        "$defs": {**components, **dict(zip(kinds, roots, strict=True))},
    }
