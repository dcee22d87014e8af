"""`!convert`: a golden table, the errors in words, and no text that takes long."""

import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instabot.commands import CommandError
from instabot.plugins.convert import numbers, plugin
from instabot.plugins.convert.answer import answer
from instabot.plugins.convert.question import parse
from instabot.plugins.convert.units import units
from instabot.testing import Bot

# ruff: noqa: RUF001 (people type such quotes)

GOLDEN = """
10 km to miles = 10 km = 6.214 mi
3 mi km = 3 mi = 4.828 km
70 F to C = 70 °F = 21.11 °C
-40 C to F = -40 °C = -40 °F
100 C in K = 100 °C = 373.15 K
0 K to °C = 0 K = -273.15 °C
10 k to c = 10 K = -263.15 °C
10 degrees celsius in fahrenheit = 10 °C = 50 °F
10 C/min to F/min = 10 °C/min = 18 °F/min
5'11" to cm = 5 ft 11 in = 180.3 cm
5’11” to cm = 5 ft 11 in = 180.3 cm
5′ 11″ to cm = 5 ft 11 in = 180.3 cm
5'11 to cm = 5 ft 11 in = 180.3 cm
5 feet and 11 inches to cm = 5 ft 11 in = 180.3 cm
180 cm to ft in = 180 cm = 5 ft 10.87 in
180 cm to feet and inches = 180 cm = 5 ft 10.87 in
71.9999 in to ft in = 71.9999 in = 6 ft 0 in
-180 cm to ft in = -180 cm = -5 ft 10.87 in
10000 s to h m s = 10000 s = 2 h 46 min 40 s
1e3 W in hp = 1000 W = 1.341 hp
2 lb 3 oz to kg = 2 lb 3 oz = 0.9922 kg
60 mph to km/h = 60 mph = 96.56 km/h
10 miles per hour in m/s = 10 mi/h = 4.47 m/s
10 knots to kph = 10 kn = 18.52 km/h
1h30m to min = 1 h 30 min = 90 min
90m to h = 90 min = 1.5 h
90 s to m = 90 s = 1.5 min
5 m to ft = 5 m = 16.4 ft
2 weeks to days = 2 weeks = 14 d
1 day to s = 1 d = 86400 s
10 MB to MiB = 10 MB = 9.537 MiB
10 mb in mib = 10 MB = 9.537 MiB
1 TiB in bytes = 1 TiB = 1099511627776 B
1 B to b = 1 B = 8 bit
100 Mbps in MB/s = 100 Mbit/s = 12.5 MB/s
100 Mbit/s in MB/s = 100 Mbit/s = 12.5 MB/s
30 mpg to l/100km = 30 mpg = 7.84 L/100km
8 l/100km to mpg = 8 L/100km = 29.4 mpg
8 liters per 100 km to mpg = 8 L/100km = 29.4 mpg
30 mpg uk to l/100km = 30 mpg (UK) = 9.416 L/100km
50 Hz to ms = 50 Hz = 20 ms
5 in to cm = 5 in = 12.7 cm
5 in in cm = 5 in = 12.7 cm
5 cm in in = 5 cm = 1.969 in
5 in cm = 5 in = 12.7 cm
3 mi in = 3 mi = 190080 in
100 square feet to m^2 = 100 ft² = 9.29 m²
100 sq ft to m2 = 100 ft² = 9.29 m²
10 km² to mi² = 10 km² = 3.861 mi²
1 acre to m2 = 1 acre = 4047 m²
3 fl oz ml = 3 fl oz = 88.72 ml
1 cup to ml = 1 cup = 236.6 ml
1 kg m/s^2 to N = 1 kg·m/s² = 1 N
1 ft lb to J = 1 ft·lbf = 1.356 J
1 kwh in kj = 1 kWh = 3600 kJ
30 psi to bar = 30 psi = 2.068 bar
180 deg to rad = 180 deg = 3.142 rad
1,500 m to km = 1500 m = 1.5 km
1,234,567 m to km = 1234567 m = 1235 km
3,5 km to m = 3.5 km = 3500 m
1/2 mile to m = 0.5 mi = 804.7 m
3 1/2 inches to mm = 3.5 in = 88.9 mm
10 km -> mi = 10 km = 6.214 mi
10km→mi = 10 km = 6.214 mi
10 km as mi = 10 km = 6.214 mi
10 KM TO MILES = 10 km = 6.214 mi
1 MM to IN = 1 mm = 0.03937 in
km to mi = 1 km = 0.6214 mi
10 miles to m = 10 mi = 16093 m
0.1 mm to km = 0.1 mm = 1e-7 km
3e9 km to m = 3000000000 km = 3e12 m
10km to parsecs = 10 km = 3.241e-13 pc
1 st to kg = 1 stone = 6.35 kg
0 km to mi = 0 km = 0 mi
"""

REFUSED = """
9**9**9 m => I cannot read “**9**9 m”; write an amount and two units, such as 10 km to miles
9^9^9 m to km => “^9^9” is no unit: units are letters, /, * and ^
().__class__ to m => I cannot read “().__class__”; write an amount and two units, such as 10 km to miles
hello => I cannot read “hello”; write an amount and two units, such as 10 km to miles
10 km => to what? Write 10 km to …, such as 10 km to miles
10 km to => to what? Write an amount and two units, such as 10 km to miles
10 km to kg => km is a length, kg is a mass: one does not convert to the other
10 MB to rad => MB is an amount of data, rad is a plain number: one does not convert to the other
10 kilomters to miles => I know no unit “kilomters”; did you mean kilometer?
10 km to xyzzy => I know no unit “xyzzy”
10 usd to eur => I do not convert money: I know no exchange rates
$5 to eur => I do not convert money: I know no exchange rates
-500 C to K => -500 °C is below absolute zero
0 mpg to l/100km => 0 mpg has no counterpart in L/100km
1/0 km to mi => I cannot divide by zero
1e999 m to km => that number is too large
1e308 km to mm => that goes beyond what I can reckon
5 C 3 C to F => temperatures do not add up
1 m*m*m*m*m*m*m*m*m*m to km => “m*m*m*m*m*m*m*m*m*m” is more of a unit than I can handle
"""


def convert(text: str) -> str:
    return answer(parse(text), units())


@pytest.mark.parametrize("line", GOLDEN.strip().splitlines())
def test_golden(line: str) -> None:
    question, amount, result = line.rsplit(" = ", 2)
    assert convert(question) == f"{amount} = {result}"


@pytest.mark.parametrize("line", REFUSED.strip().splitlines())
def test_what_cannot_be_converted_is_explained(line: str) -> None:
    question, text = line.split(" => ")
    with pytest.raises(CommandError) as caught:
        convert(question)
    assert str(caught.value) == text


async def test_it_is_a_command() -> None:
    bot = Bot(plugin)
    assert await bot.hears("!convert 10 km to miles") == ["10 km = 6.214 mi"]
    assert await bot.hears("!convert") == ["usage: !convert AMOUNT UNIT to UNIT"]
    assert await bot.hears("!convert " + "9" * 200) == [
        "that is too long; write an amount and two units, such as 10 km to miles"
    ]
    assert len(await bot.hears("!help convert")) <= 5


def test_the_registry_is_loaded_once_by_many_threads() -> None:
    found = []
    crowd = [threading.Thread(target=lambda: found.append(units())) for _ in range(4)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert len({id(one) for one in found}) == 1


FRAGMENTS = st.sampled_from(
    ["10", " ", "km", "mi", "to", " to ", " in ", "in", "**", "^", "/", "*", "9", "1e308", "-", ".",
     ",", "'", '"', "°", "C", "F", "m", "h", "s", "(", ")", "per", "square ", "l/100km", "e9",
     "1/2", "²", "->", "and", "kg", "%", "dB", "dBm", "degC", "delta_degC", "\u0660", "ß", "yotta",
     "speed_of_light", "_", "mile", "0", "°F", "b", "None", "x" * 40]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(text=st.one_of(st.text(max_size=140), st.lists(FRAGMENTS, max_size=14).map("".join)))
def test_any_text_is_answered_at_once(text: str) -> None:
    units()
    begin = time.perf_counter()
    with suppress(CommandError):
        assert " = " in convert(text)
    assert time.perf_counter() - begin < 2


@given(value=st.floats(allow_nan=False, min_value=-1e308, max_value=1e308))
def test_numbers_are_close_and_short(value: float) -> None:
    for text in (numbers.result(value), numbers.given(value), numbers.degrees(value)):
        assert len(text) <= 17
        assert "e+" not in text
    assert float(numbers.result(value)) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(
    ("value", "text"),
    [(6.2137119, "6.214"), (16093.44, "16093"), (0.5, "0.5"), (1000.4, "1000"), (100.0, "100"),
     (0.00012345, "1.234e-4"), (-2.5, "-2.5"), (9460730472580.8, "9.461e12"), (86400.000000001, "86400"),
     (0.99999, "1"), (-0.0, "0"), (1048576, "1048576"), (1e9, "1e9")],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert numbers.result(value) == text
