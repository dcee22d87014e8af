"""Every key in Redis. All keys of a shard share a hash tag, so that a script touches one slot."""

META = "instabot:meta"
RUNTIMES = "instabot:runtimes"
BACKENDS = "instabot:backends"
ANSWERS = "instabot:feed:answers"
LIST_CONTROL = "control"
LIST_MESSAGES = "messages"
LIST_WORK = "instabot:control:work"


def key(shard: int, name: str) -> str:
    """`key(7, "messages")` → `instabot:{7}:messages`."""
    return f"instabot:{{{shard}}}:{name}"
