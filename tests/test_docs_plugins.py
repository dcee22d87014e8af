"""docs/plugins.md: what it shows is run as it stands there."""

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[1] / "docs" / "plugins.md"


def test_the_pages_plugins_pass_the_pages_tests(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert [name for name, _ in blocks] == ["dice", "backup", "standup", "test_plugins"]
    for name, source in blocks:
        (pytester.path / f"{name}.py").write_text(source, encoding="utf-8")
    pytester.makeini(
        "[pytest]\nasyncio_mode = auto\nfilterwarnings = error\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
