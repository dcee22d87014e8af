from hypothesis import given
from hypothesis import strategies as st

from instabot.store.schema import clean

anything = st.text(st.characters(codec=None, categories=None))


@given(anything)
def test_cleaned_text_is_what_any_database_takes(text: str) -> None:
    cleaned = clean(text)
    assert "\x00" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert len(cleaned) == len(text)
    assert clean(cleaned) == cleaned


def test_only_nul_and_surrogates_are_replaced() -> None:
    assert clean("a\x00b\ud800c\x01\x02 'é' 😀\r\n") == "a\ufffdb\ufffdc\x01\x02 'é' 😀\r\n"
