"""Roles in memory: what a grant and a revocation do at once, and what is never kept."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from instabot.backend import roles
from instabot.backend.roles import Roles
from instabot.commands import Context, Plugin
from instabot.store.store import Store
from tests.backend.stage import URL, stage
from tests.servers import RedisServer


def deploying() -> Plugin:
    plugin = Plugin("ship")

    @plugin.command(effect=True)
    async def ship(ctx: Context) -> str:
        return f"shipped for {ctx.account}"

    return plugin


@pytest.mark.real
async def test_a_grant_lets_in_at_once_and_a_revocation_shuts_out_at_once(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(deploying()):
            ann: dict[str, Any] = {"network": "net", "account": "ann", "role": "operator"}
            await s.hear("#a", "!ship", account="ann")
            await s.said("#a", 1)
            await s.ask("role.grant", **ann)
            await s.hear("#a", "!ship", account="ann")
            await s.said("#a", 2)
            await s.ask("role.revoke", **ann)
            await s.hear("#a", "!ship", account="ann")
            await s.hear("#a", "!ship")
            refused, shipped, again, stranger = await s.said("#a", 4)
            assert "needs the role “operator”; an operator grants it to you with" in refused
            assert shipped == "shipped for ann"
            assert again == refused
            assert "I do not know you" in stranger


@pytest.mark.real
async def test_a_network_made_anew_does_not_inherit_the_roles_of_the_old_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with stage(redis_server, tmp_path) as s:
        await s.want("#a")
        async with s.backend(deploying()):
            await s.ask("role.grant", network="net", account="ann", role="operator")
            await s.hear("#a", "!ship", account="ann")
            assert await s.said("#a", 1) == ["shipped for ann"]
            await s.ask("network.remove", name="net")
            answer = await s.ask("join", network="net", url=URL, rooms=[{"name": "#a"}])
            s.rooms |= answer.data["rooms"]
            await s.hear("#a", "!ship", account="ann")
            (refused,) = await s.said("#a", 1)
            assert "needs the role" in refused


async def test_what_was_read_before_a_revocation_is_not_kept(tmp_path: Path) -> None:
    async with await Store.open(f"sqlite:///{tmp_path / 's.db'}") as store:
        known = Roles(store)
        reading, revoked = asyncio.Event(), asyncio.Event()

        async def slow(network: str, account: str) -> set[str]:
            reading.set()
            await revoked.wait()
            return {"operator"}  # as it was when it was read

        store.roles.of = slow  # type: ignore[method-assign]
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(known.of("local/net", "ann"))
            await reading.wait()
            known.forget("local/net")
            revoked.set()
        assert asked.result() == {"operator"}

        async def now(network: str, account: str) -> set[str]:
            return set()

        store.roles.of = now  # type: ignore[method-assign]
        assert await known.of("local/net", "ann") == frozenset()


async def test_strangers_do_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roles, "MOST", 5)
    async with await Store.open(f"sqlite:///{tmp_path / 's.db'}") as store:
        known = Roles(store)
        assert await known.of("local/net", "") == frozenset()
        assert known._known == {}
        for number in range(23):
            assert await known.of("local/net", f"user{number}") == frozenset()
        assert len(known._known) <= 5
        known.forget_all()
        assert known._known == {}
