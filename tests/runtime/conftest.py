"""What the runtime's tests share; the stage they play on is in `stage.py`."""

import pytest

from instabot.runtime import service
from tests.runtime.stage import Counted


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> type[Counted]:
    """The adapter that links get: one of this test's own, to be broken as it likes."""

    class Mine(Counted):
        pass

    monkeypatch.setattr(service, "make_adapter", Mine)
    return Mine
