"""Who may do what, kept in memory: asked for each command, changed by requests of the same shard."""

from instabot.store.store import Store

MOST = 10_000
"""Accounts remembered; a room of strangers must not fill the memory."""


class Roles:
    """(network, account) → roles. A network's grants are changed by the backend that asks here."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], frozenset[str]] = {}
        self._changes = 0

    async def of(self, network: str, account: str) -> frozenset[str]:
        """The roles of an account; none for somebody without one. Raises Unreachable."""
        if not account:
            return frozenset()
        known = self._known.get((network, account))
        if known is None:
            before = self._changes
            known = frozenset(await self._store.roles.of(network, account))
            if before == self._changes:  # else what was read may be what was just revoked
                self._keep(network, account, known)
        return known

    def _keep(self, network: str, account: str, roles: frozenset[str]) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[network, account] = roles

    def forget(self, network: str) -> None:
        """The network's grants changed, or its shard was another backend's meanwhile."""
        self._changes += 1
        for key in [key for key in self._known if key[0] == network]:
            del self._known[key]

    def forget_all(self) -> None:
        """A shard was taken: what is known may be old."""
        self._changes += 1
        self._known.clear()
