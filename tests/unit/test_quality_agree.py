"""How much two answers have in common."""

from __future__ import annotations

import pytest

from routerd.quality.agree import agreement


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("Canberra.", "canberra", 1.0),
        ("It is Canberra", "It is Sydney", 2 / 3),
        ("no", "no no no", 0.5),
        ("Ja", "Nein", 0.0),
        ("", "", 1.0),
        ("", "Canberra", 0.0),
    ],
)
def test_the_share_of_words_that_both_have(one: str, other: str, share: float) -> None:
    assert agreement(one, other) == agreement(other, one) == pytest.approx(share)
