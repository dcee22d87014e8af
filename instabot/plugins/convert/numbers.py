"""Numbers as people like to read them: four digits that matter, and no silly zeros."""


def result(value: float) -> str:
    """A converted amount: 6.214, 16093, 86400, 1.5, 1.234e-5, 9.461e12."""
    if value == 0:
        return "0"
    size = abs(value)
    whole = round(value) if size < 1e15 else None
    if whole is not None and abs(value - whole) <= min(1e-12 * size, 1e-3):
        short = _scientific(value)
        # 3e12 rather than 3000000000000, but all digits of 1099511627776.
        return short if size >= 1e9 and float(short) == whole else str(whole)
    if size >= 1e9 or size < 1e-3:
        return _scientific(value)
    return f"{value:.0f}" if size >= 1000 else _strip(f"{value:#.4g}")


def degrees(value: float) -> str:
    """A temperature: two decimals, for 373.15 K is known as such."""
    if abs(value) >= 1e6:
        return result(value)
    return "0" if abs(value) < 0.005 else _strip(f"{value:.2f}")


def given(value: float) -> str:
    """An amount as it was asked for, to ten digits."""
    text = f"{value:.10g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _scientific(value: float) -> str:
    mantissa, _, exponent = f"{value:.3e}".partition("e")
    return f"{_strip(mantissa)}e{int(exponent)}"


def _strip(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
