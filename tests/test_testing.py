"""The kit that plugin authors test with, used as they use it."""

import subprocess
import sys
from pathlib import Path

import pytest

from instabot.commands import Context, Plugin
from instabot.model import Hook
from instabot.testing import Bot, InMemory

pytest_plugins = ["pytester"]

counter = Plugin("counter")


@counter.command
async def count(ctx: Context) -> str:
    """Count up."""
    number = int(await ctx.memory.get("n") or b"0") + 1
    await ctx.memory.put("n", str(number).encode())
    return f"{ctx.sender} counts {number} in {ctx.room.name}"


@counter.command
async def slowly(ctx: Context) -> list[str]:
    """Fail."""
    raise ZeroDivisionError


@counter.command(effect=True, role="deployer")
async def deploy(ctx: Context) -> str:
    """Deploy."""
    return f"deployed by {ctx.account}"


@counter.listen("coffee")
async def coffee(ctx: Context) -> str:
    return "☕"


@counter.hook("github")
async def github(ctx: Context, hook: Hook) -> str:
    return f"{ctx.sender}: {hook.headers['x-event']} {hook.body}"


@counter.every("5m")
async def tick(ctx: Context) -> str:
    return "tick"


async def test_the_fixture_holds_the_plugins_of_the_tests_module(bot: Bot) -> None:
    await bot.hears("!count")
    await bot.hears("!count", sender="bob")
    await bot.hears("!count", room="#other")
    assert bot.said == ["alice counts 1 in #test", "bob counts 2 in #test",
                        "alice counts 1 in #other"]  # fmt: skip
    assert bot.memory("counter", "#test").kept == {"n": b"2"}


async def test_senders_have_accounts_and_roles(bot: Bot) -> None:
    assert "needs the role “deployer”" in (await bot.hears("!deploy"))[0]
    said = await bot.hears("!deploy", account="al", roles={"deployer"})
    assert said == ["deployed by al"]


async def test_lines_hooks_and_time_reach_the_plugin(bot: Bot) -> None:
    assert await bot.hears("more coffee please") == ["☕"]
    assert await bot.hears("more coffee please", kind="notice") == []
    assert await bot.receives("github", "abc", headers={"x-event": "push"}) == [
        "github: push abc"
    ]
    assert await bot.receives("gitlab") == []
    assert await bot.passes(660) == ["tick", "tick"]


async def test_what_a_plugin_raises_comes_out(bot: Bot) -> None:
    with pytest.raises(ZeroDivisionError):
        await bot.hears("!slowly")


async def test_what_the_wire_cannot_carry_is_found(bot: Bot) -> None:
    with pytest.raises(UnicodeEncodeError):
        await bot.hears("\ud800")


async def test_memory_forgets() -> None:
    memory = InMemory()
    await memory.put("a", b"1")
    await memory.delete("a")
    await memory.delete("a")
    assert await memory.get("a") is None


def test_pytest_finds_the_fixture_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        dice="""
        from instabot import Context, Plugin

        plugin = Plugin("dice")

        @plugin.command
        async def roll(ctx: Context, sides: int = 6) -> str:
            return f"{ctx.sender} rolls {ctx.random.randint(1, sides)}"
        """,
        test_dice="""
        from dice import plugin

        async def test_a_die_has_sides(bot):
            await bot.hears("!roll 1")
            assert bot.said == ["alice rolls 1"]
        """,
    )
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_loading_it_costs_pytest_nothing_of_the_rest() -> None:
    script = (
        "import pytest, sys; import instabot.testing;"
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'redis', 'sqlalchemy', 'pint', 'msgspec', 'structlog', 'cryptography'}))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                         check=True, cwd=Path(__file__).parent)  # fmt: skip
    assert ran.stdout.strip() == "[]"
