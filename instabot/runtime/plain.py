"""Bytes of what chat says, whatever it says: a lone surrogate would stop the encoder."""

import msgspec

from instabot import wire


def plain(text: str) -> str:
    """The text with every lone surrogate as `?`, so that it can be encoded."""
    return text.encode("utf-8", "replace").decode()


def encode(value: msgspec.Struct) -> bytes:
    """A struct as JSON; its own text fields made plain where they have to be."""
    try:
        return wire.encode(value)
    except UnicodeEncodeError:
        texts = {name: getattr(value, name) for name in value.__struct_fields__}
        changes = {n: plain(text) for n, text in texts.items() if isinstance(text, str)}
        return wire.encode(msgspec.structs.replace(value, **changes))
