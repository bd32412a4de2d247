from __future__ import annotations

import click

from routerd_client.protocol import StatsBy, StatsResult
from routerd_client.records import ShadowRow, StatsRow

from ..spend.price import dollars
from .common import daemon, json_option, print_json, seconds, table
from .ledger import clock, quality, since_option


@click.command()
@click.option(
    "--by",
    type=click.Choice(["backend", "endpoint", "route", "task", "client", "variant"]),
    default="backend",
    show_default=True,
    help="By backend, attempts are counted; otherwise requests.",
)
@since_option
@click.option("--shadow", is_flag=True, help="What the endpoints' shadows came to.")
@click.option("--reset", is_flag=True, help="Have the figures begin anew; no record is deleted.")
@json_option
def command(by: StatsBy, since: float | None, shadow: bool, reset: bool, as_json: bool) -> None:
    """Show how requests went: successes, refusals, escalations, times, tokens and money, from the ledger.

    Where an endpoint goes by complexity, also how many went to the simple and to the complex tier. Without --since,
    the figures begin at the last --reset.

    \b
    Examples:
      routerctl stats --by route --since 7d
      routerctl stats --json | jq .tiers.simple_tier_percentage
    """
    with daemon(as_json=as_json) as client:
        found = client.stats(by, since_s=since, reset=reset)
    if as_json:
        print_json(found)
    else:
        click.echo(_shadows(found.shadows) if shadow else _text(found, by))


def _shadows(rows: list[ShadowRow]) -> str:
    """One row for each limit: what those below it would lose or gain at the other backend."""
    if not rows:
        return "no request was asked of another backend too (an endpoint's `shadow: {to: NAME}` has some asked)"
    return table(
        [
            {
                "complexity": "any" if row.below is None else f"below {row.below:g}",
                "requests": str(row.requests),
                "agreement": f"{row.agreement:.0%}",
                "quality": quality(row.quality),
                "the other's": quality(row.other_quality),
            }
            for row in rows
        ]
    )


def _text(found: StatsResult, by: str) -> str:
    lines = [f"since {clock(found.since)}"] if found.since else []
    lines.append(table([_row(row, by) for row in found.rows]) if found.rows else "no requests in the ledger")
    tiers = found.tiers
    if tiers.total_requests:
        simple, complex_ = _score(tiers.avg_simple_score), _score(tiers.avg_complex_score)
        lines += [
            "",
            f"by complexity: {tiers.total_requests} requests, {tiers.simple_tier_percentage:.0f} % of them simple",
            f"  simple tier   {tiers.simple_tier_requests}{simple}",
            f"  complex tier  {tiers.complex_tier_requests}{complex_}",
            f"  answered by another than the first choice: {tiers.fallback_count}",
        ]
    return "\n".join(lines)


def _score(average: float | None) -> str:
    return "" if average is None else f", average score {average:.2f}"


def _row(row: StatsRow, by: str) -> dict[str, str]:
    return {
        by: row.name or "(none)",
        "requests": str(row.requests),
        "success": "" if row.success is None else f"{row.success:.0%}",
        "failed": str(row.failed or ""),
        "cancelled": str(row.cancelled or ""),
        "refused": str(row.refusals or ""),
        "escalated": str(row.escalations or ""),
        "feedback": "" if row.feedback is None else f"{row.feedback:.2f}",
        "first p50": seconds(row.ttft_p50_s),
        "p95": seconds(row.ttft_p95_s),
        "total p50": seconds(row.total_p50_s),
        "tokens in": str(row.prompt_tokens),
        "out": str(row.completion_tokens),
        "cost": dollars(row.cost_microusd) if row.cost_microusd else "",
    }
