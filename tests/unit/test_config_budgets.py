"""What routes.yaml and the environment may say of money."""

from __future__ import annotations

import pytest

from routerd.config.load import load
from routerd.config.report import ConfigFailedError

CONFIG = """\
version: 1
backends:
  cloud: {}
  other: {openai: {model: gpt-4o}, quota: [{per: week, tokens: 5, starts: 2026-11-03T09:00}]}
routes: [{name: dear, match: {task: plan}, use: cloud}]
default: cloud
"""
DAILY, MONTHLY = "TIER_CLOUD_DAILY_BUDGET_USD", "TIER_CLOUD_MONTHLY_BUDGET_USD"


@pytest.mark.parametrize(
    ("file", "environ", "daily", "monthly"),
    [
        ("", {}, 5.0, 50.0),
        ("", {DAILY: "2.5", MONTHLY: "7"}, 2.5, 7.0),
        ("budgets: {daily_usd: 1}", {DAILY: "2.5"}, 1.0, 50.0),
    ],
)
def test_a_cloud_tier_has_budgets(file: str, environ: dict[str, str], daily: float, monthly: float) -> None:
    budgets = load(CONFIG + file, "routes.yaml", environ).config.budgets

    assert (budgets.daily_usd, budgets.monthly_usd) == (daily, monthly)


def test_a_cloud_of_ones_own_has_only_those_that_the_environment_says() -> None:
    own = CONFIG.replace("cloud: {}", "cloud: {openai: {model: gpt-4o}}")

    assert load(own, "routes.yaml", {}).config.budgets.daily_usd is None
    assert load(own, "routes.yaml", {MONTHLY: "7"}).config.budgets.monthly_usd == 7.0


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        ("budgets: {backends: {clod: {daily_usd: 1}}}", {}, "budgets.backends.clod: there is no such backend"),
        ("budgets: {routes: {deer: {daily_usd: 1}}}", {}, "budgets.routes.deer: no route is named so"),
        ("budgets: {daily_usd: -1}", {}, "budgets.daily_usd: must be between 0 and"),
        ("budgets: {time_zone: Europe/Berln}", {}, "did you mean Europe/Berlin?"),
        ("budgets: {time_zone: ../../etc/passwd}", {}, "is no time zone known here"),
        ("prices: {gpt-4o: {input: 1}}", {}, "prices.gpt-4o: the key 'output' is missing"),
        ("prices: {gpt-4o: {input: -1, output: 1}}", {}, "prices.gpt-4o.input: must be between 0 and"),
        ("", {DAILY: "five"}, "TIER_CLOUD_DAILY_BUDGET_USD is 'five', which is no number of dollars"),
        ("", {DAILY: "-5"}, "budgets.daily_usd: must be between 0 and"),
    ],
)
def test_mistakes_are_told(text: str, environ: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigFailedError) as failed:
        load(CONFIG + text, "routes.yaml", environ)

    assert told in "\n".join(map(str, failed.value.errors))


def test_a_moment_that_nobody_can_read_is_told() -> None:
    with pytest.raises(ConfigFailedError, match=r"quota\[0\].starts: 'Tuesday' is not a moment"):
        load(CONFIG.replace("2026-11-03T09:00", "Tuesday"), "routes.yaml", {})
