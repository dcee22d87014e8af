"""The bench's table and its ratios."""

from scripts.harness.figures import Figure, figures, ratio, ratios, table

SPEED = Figure("speed", "speed", "/s", more=True)
DELAY = Figure("delay", "delay", "ms")


def test_a_ratio_says_how_many_times_better_ours_is() -> None:
    assert ratio(SPEED, 200, 100) == 2
    assert ratio(DELAY, 2, 4) == 2
    assert ratio(DELAY, 0, 4) is None


def test_only_figures_of_both_get_a_ratio() -> None:
    assert ratios([SPEED, DELAY], {"speed": 3.0, "delay": 1.0}, {"speed": 1.0}) == {"speed": 3}


def test_the_table_has_a_column_for_each_and_leaves_out_what_nobody_measured() -> None:
    text = table(
        [SPEED, DELAY, Figure("none", "none", "s")],
        {"log on": {"speed": 1234.5}, "seed": {"speed": 617.25, "delay": 1.5}},
        "seed",
    )
    assert [line.split() for line in text.splitlines()] == [
        ["log", "on", "seed", "log", "on", ":", "seed"],
        ["speed,", "/s", "1,234", "617", "2.00", "x"],
        ["delay,", "ms", "-", "1.50", "-"],
    ]


def test_every_figure_has_its_own_key() -> None:
    keys = [figure.key for figure in figures((1, 1000, 10000), (50, 400))]
    assert len(keys) == len(set(keys))
    assert {"commands_50", "chatter", "p99", "links_rss_10000", "rejoin"} <= set(keys)
