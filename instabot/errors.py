"""Few errors, named by what the caller does next.

InstabotError
├── BadInput        tell the user what to write instead         (exit code 2)
├── Unreachable     Redis or the store is away: wait, try again  (exit code 3)
├── NotAllowed      refused by us: role, read-only               (exit code 4)
├── LinkError       the chat connection failed: dial again later
├── Refused         the chat service said no: show the reason
├── Malformed       bytes that are not our wire: a dead letter
├── Fenced          another process owns the shard now: let it go
├── Superseded      a newer incarnation of this process runs: exit
└── CommandError    its text is the reply in the room
"""


class InstabotError(Exception):
    """Any error that Instabot raises on purpose; its text is fit for a user's eyes."""


class BadInput(InstabotError):
    """The user wrote something we cannot use; the text says what to write instead."""


class Unreachable(InstabotError):
    """Redis or the store does not answer; the call may be repeated as it is."""


class NotAllowed(InstabotError):
    """We refuse: a role is missing, or the session is read-only."""


class LinkError(InstabotError):
    """The connection to a chat service failed or was cut; dial again.

    `delay` is the least number of seconds to wait first, where the service gave a hint
    ("reconnecting too fast"), else 0.
    """

    def __init__(self, text: str, delay: float = 0.0) -> None:
        super().__init__(text)
        self.delay = delay


class Refused(InstabotError):
    """The chat service said no to a login or to a join, in its own words.

    `code` is one of the words of `model.Reason`. `final` says that asking again is useless
    until somebody changes something (banned, invite only, wrong password).
    """

    def __init__(self, code: str, text: str, final: bool = True) -> None:
        super().__init__(text)
        self.code = code
        self.final = final


class Malformed(InstabotError):
    """Bytes that our wire cannot read; the text is the reason on the dead letter."""


class Fenced(InstabotError):
    """The lease of a shard is no longer ours; whatever we were about to do there is void."""


class Superseded(InstabotError):
    """A higher incarnation of the same process id holds the lease: this process must exit."""


class CommandError(InstabotError):
    """Raised by a plugin's command; its text is the reply in the room."""
