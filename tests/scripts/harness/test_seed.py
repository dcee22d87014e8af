"""The seed that the bench compares with is what it says: short, and it does answer."""

from pathlib import Path

import pytest

from scripts.harness import seed
from scripts.harness.load import Load
from scripts.harness.stage import stage
from scripts.harness.subjects import Seed


def test_it_is_no_longer_than_sixty_lines() -> None:
    lines = Path(str(seed.__file__)).read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 60


@pytest.mark.real
async def test_it_answers_in_every_room() -> None:
    rooms = ["#one", "#two"]
    async with stage("ngircd") as where:
        subject = Seed(where)
        try:
            await subject.up()
            await subject.join(rooms)
            load = Load(where.irc.port, rooms)
            await load.connect()
            tally = await load.steady(50, 0.4)
            load.close()
        finally:
            await subject.down()
    assert (len(tally.latencies), tally.wrong) == (20, 0)
