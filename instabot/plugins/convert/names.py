"""What people call units, where that is not what pint calls them."""

from collections.abc import Mapping
from typing import Final


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


EXACT: Final[Mapping[str, str]] = {
    "C": "degree_Celsius", "F": "degree_Fahrenheit", "K": "kelvin", "R": "degree_Rankine",
    "b": "bit", "B": "byte", "'": "foot", '"': "inch", "%": "percent", "PS": "metric_horsepower",
    "Cal": "kilocalorie", "KB": "kilobyte", "Kb": "kilobit", "Mb": "megabit", "Gb": "gigabit",
    "Tb": "terabit", "MBps": "megabyte/second", "GBps": "gigabyte/second",
    "KBps": "kilobyte/second", "kBps": "kilobyte/second",
    "Kbps": "kilobit/second", "Mbps": "megabit/second", "Gbps": "gigabit/second",
    "Tbps": "terabit/second",
}  # fmt: skip
"""Names where upper and lower case differ in meaning."""

FOLDED: Final[Mapping[str, str]] = {
    "c": "degree_Celsius", "°c": "degree_Celsius", "degc": "degree_Celsius",
    "deg c": "degree_Celsius", "degree c": "degree_Celsius", "degrees c": "degree_Celsius",
    "degree celsius": "degree_Celsius", "degrees celsius": "degree_Celsius",
    "centigrade": "degree_Celsius", "celcius": "degree_Celsius",
    "f": "degree_Fahrenheit", "°f": "degree_Fahrenheit", "degf": "degree_Fahrenheit",
    "deg f": "degree_Fahrenheit", "degree f": "degree_Fahrenheit",
    "degrees f": "degree_Fahrenheit", "degree fahrenheit": "degree_Fahrenheit",
    "degrees fahrenheit": "degree_Fahrenheit", "farenheit": "degree_Fahrenheit",
    "k": "kelvin", "°k": "kelvin", "°": "degree",
    "kb": "kilobyte", "mb": "megabyte", "gb": "gigabyte", "tb": "terabyte", "pb": "petabyte",
    "kib": "kibibyte", "mib": "mebibyte", "gib": "gibibyte", "tib": "tebibyte",
    "kbit": "kilobit", "mbit": "megabit", "gbit": "gigabit", "tbit": "terabit",
    "bps": "bit/second", "kbps": "kilobit/second", "mbps": "megabit/second",
    "gbps": "gigabit/second", "tbps": "terabit/second",
    "mpg": "mile/gallon", "mpg us": "mile/gallon", "us mpg": "mile/gallon",
    "miles per gallon": "mile/gallon", "mpg uk": "mile/imperial_gallon",
    "uk mpg": "mile/imperial_gallon", "imperial mpg": "mile/imperial_gallon",
    "kmh": "kilometer/hour", "kph": "kilometer/hour", "kmph": "kilometer/hour",
    "fps": "foot/second", "kn": "knot", "kts": "knot", "st": "stone", "cc": "centimeter^3",
    "fl oz": "fluid_ounce", "floz": "fluid_ounce", "us gal": "gallon", "us gallon": "gallon",
    "us gallons": "gallon", "uk gal": "imperial_gallon", "uk gallon": "imperial_gallon",
    "uk gallons": "imperial_gallon", "imp gal": "imperial_gallon",
    "uk pint": "imperial_pint", "uk pints": "imperial_pint",
    "sqft": "foot^2", "sqm": "meter^2", "sqkm": "kilometer^2", "sqmi": "mile^2",
    "ft lb": "foot*pound_force", "ft lbs": "foot*pound_force", "ft-lb": "foot*pound_force",
    "foot pounds": "foot*pound_force", "foot-pounds": "foot*pound_force",
    "hr": "hour", "hrs": "hour", "mins": "minute", "sec": "second", "secs": "second",
    "wk": "week", "wks": "week", "mo": "month", "mos": "month", "yr": "year", "yrs": "year",
    "kilo": "kilogram", "kilos": "kilogram", "lbs": "pound", "ozs": "ounce",
    "tonnes": "metric_ton", "mmhg": "mmHg", "inhg": "inHg", "kwh": "kilowatt_hour",
    "mwh": "megawatt_hour", "gwh": "gigawatt_hour", "wh": "watt_hour", "hz": "hertz",
    "khz": "kilohertz", "mhz": "megahertz", "ghz": "gigahertz", "pa": "pascal",
    "kpa": "kilopascal", "mpa": "megapascal", "w": "watt", "kw": "kilowatt", "mw": "megawatt",
    "mm": "millimeter", "mhp": "metric_horsepower", "litresperhundredkm": "litresperhundredkm",
    "lb ft": "foot*pound_force", "lbft": "foot*pound_force", "lb-ft": "foot*pound_force",
}  # fmt: skip
"""Names in any case; exact names and pint's own case-sensitive ones come first."""

SHOUTED: Final = _words(
    "KM CM MM KG MG FT IN MI YD LB LBS OZ MPH PSI GAL PT QT HP ML MIN HR SEC BTU DEG"
)
"""Typed with caps lock on; some would else be something odd (megamolar, petatesla)."""

LABELS: Final[Mapping[str, str]] = {
    "mile/gallon": "mpg", "mile/imperial_gallon": "mpg (UK)", "fluid_ounce": "fl oz",
    "litresperhundredkm": "L/100km", "imperial_gallon": "gal (UK)", "imperial_pint": "pt (UK)",
    "kilometer_per_hour": "km/h", "cup": "cup",
}  # fmt: skip
"""How to write a unit, where pint's symbol is not what people write."""

PLURALS: Final = frozenset({"week", "month", "decade", "fortnight", "cup", "acre"})
"""Labels that are words, and take an s."""

MONEY: Final = _words(
    "usd eur gbp chf jpy cad aud sek nok dkk pln inr cny btc dollar dollars euro euros yen"
)

COMMON: Final = _words(
    "meter metre kilometer centimeter millimeter micrometer mile yard foot feet inch inches "
    "nautical_mile light_year parsec gram kilogram milligram tonne ton pound ounce stone "
    "celsius fahrenheit kelvin rankine second minute hour day week fortnight month year decade "
    "century liter litre milliliter gallon quart pint cup tablespoon teaspoon fluid_ounce "
    "barrel acre hectare knot mph kph mpg watt kilowatt horsepower joule kilojoule calorie "
    "kilocalorie btu newton pascal kilopascal bar psi atmosphere torr hertz volt ampere ohm "
    "coulomb farad bit byte kilobyte megabyte gigabyte terabyte mebibyte gibibyte tebibyte "
    "degree radian arcminute lumen lux candela tesla gauss mole"
)
"""Where “did you mean” looks."""

KINDS: Final[Mapping[frozenset[tuple[str, int]], str]] = {
    frozenset(): "a plain number",
    frozenset({("[length]", 1)}): "a length",
    frozenset({("[length]", 2)}): "an area",
    frozenset({("[length]", 3)}): "a volume",
    frozenset({("[mass]", 1)}): "a mass",
    frozenset({("[time]", 1)}): "a time",
    frozenset({("[time]", -1)}): "a frequency",
    frozenset({("[temperature]", 1)}): "a temperature",
    frozenset({("[information]", 1)}): "an amount of data",
    frozenset({("[information]", 1), ("[time]", -1)}): "a data rate",
    frozenset({("[length]", 1), ("[time]", -1)}): "a speed",
    frozenset({("[length]", 1), ("[time]", -2)}): "an acceleration",
    frozenset({("[length]", -2)}): "a fuel economy",
    frozenset({("[current]", 1)}): "a current",
    frozenset({("[substance]", 1)}): "an amount of substance",
    frozenset({("[luminosity]", 1)}): "a luminosity",
    frozenset({("[mass]", 1), ("[length]", 1), ("[time]", -2)}): "a force",
    frozenset({("[mass]", 1), ("[length]", 2), ("[time]", -2)}): "an energy",
    frozenset({("[mass]", 1), ("[length]", 2), ("[time]", -3)}): "a power",
    frozenset({("[mass]", 1), ("[length]", -1), ("[time]", -2)}): "a pressure",
}
"""Dimensions in words."""
