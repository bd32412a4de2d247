"""What may be said of the ledger, of shadows and of two limits side by side."""

from __future__ import annotations

import pytest

from routerd.config.load import ConfigFailedError, load
from routerd.config.schema import LedgerSpec

HEAD = "backends: {small: {mlx: {model: demo}}, large: {mlx: {model: org/large}}}\ndefault: small\n"
BANDS = "by_complexity: [{below: 3, use: small}, {use: large}]"


def test_the_defaults_keep_no_text_and_ninety_days() -> None:
    assert load(HEAD, "routes.yaml").config.ledger == LedgerSpec(keep=90 * 86_400, text=False)


def test_all_of_it_can_be_said() -> None:
    text = (
        "ledger: {keep: 30d, text: true, text_max: 2KB, text_keep: 1d}\n"
        f"endpoints: {{auto: {{{BANDS}, ab: {{below: [3, 4], share: 0.1}}, shadow: {{to: large}}}}}}\n"
    )
    config = load(HEAD + text, "routes.yaml").config
    assert config.ledger == LedgerSpec(keep=30 * 86_400, text=True, text_max=2000, text_keep=86_400)
    auto = config.endpoints["auto"]
    assert auto.ab
    assert (auto.ab.below, auto.ab.share) == ((3, 4), 0.1)
    assert auto.shadow
    assert (auto.shadow.to, auto.shadow.share) == ("large", 0.05)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("ledger: {keep: 0}", "ledger.keep: must be more than 0, got 0"),
        ("ledger: {text: off}", "ledger.text: expected true or false"),
        (f"endpoints: {{auto: {{{BANDS}, ab: {{below: [3]}}}}}}", "ab.below: two limits are compared, and 1 are given"),
        (f"endpoints: {{auto: {{{BANDS}, ab: {{below: [3, 4], share: 2}}}}}}", "ab.share: must be between 0 and 1"),
        ("endpoints: {auto: {fallback: [small], ab: {below: [3, 4]}}}", "only by_complexity has limits to compare"),
        ("endpoints: {auto: {by_complexity: [{use: small}], ab: {below: [3, 4]}}}", "it needs a second band"),
        (
            "endpoints: {auto: {by_complexity: [{below: 3, use: small}, {below: 5, use: small}, {use: large}],"
            " ab: {below: [3, 6]}}}",
            "must be less than the next band's, 5",
        ),
        (f"endpoints: {{auto: {{{BANDS}, shadow: {{to: larg}}}}}}", "there is no endpoint or backend 'larg'"),
        (f"endpoints: {{auto: {{{BANDS}, shadow: {{to: large, share: 3}}}}}}", "must be between 0 and 1, got 3"),
    ],
)
def test_mistakes_are_told(text: str, mistake: str) -> None:
    with pytest.raises(ConfigFailedError) as failed:
        load(f"{HEAD}{text}\n", "routes.yaml")
    assert [str(error) for error in failed.value.errors if mistake in str(error)], failed.value.errors
