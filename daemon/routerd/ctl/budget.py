from __future__ import annotations

import click

from routerd_client.protocol import BudgetResult
from routerd_client.records import BudgetLine, QuotaStatus

from ..spend.price import dollars, microusd
from .common import daemon, json_option, print_json, seconds, table


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show what was spent today and this month, what may still be, and what is left of quotas.

    \b
    Examples:
      routerctl budget
      routerctl budget --json | jq '.lines[] | select(.scope == "total")'
    """
    if context.invoked_subcommand is None:
        with daemon(as_json=as_json) as client:
            _show(client.budget(), as_json=as_json)


@command.command()
@click.argument("provider")
@click.argument("model")
@click.argument("tokens_in", type=click.IntRange(0))
@click.argument("tokens_out", type=click.IntRange(0))
@click.option("--usd", type=click.FloatRange(0), help="What it cost, where the tokens do not tell.")
@json_option
def record(provider: str, model: str, tokens_in: int, tokens_out: int, usd: float | None, as_json: bool) -> None:
    """Book what was spent without the daemon, today.

    PROVIDER is a backend's name, or that of a maker or reseller such as anthropic. A model whose price nobody knows is
    refused: say what it cost with --usd.

    \b
    Examples:
      routerctl budget record anthropic claude-haiku-4-5 12000 800
      routerctl budget record cloud some-model 12000 800 --usd 0.04
    """
    cost = None if usd is None else microusd(usd)
    with daemon(as_json=as_json) as client:
        _show(client.record_spend(provider, model, tokens_in, tokens_out, cost_microusd=cost), as_json=as_json)


@command.command("set-spent")
@click.option("--today", required=True, type=click.FloatRange(0), metavar="USD", help="Spent today, in all.")
@click.option("--month", required=True, type=click.FloatRange(0), metavar="USD", help="Spent this month, in all.")
@json_option
def set_spent(today: float, month: float, as_json: bool) -> None:
    """Say what today and this month have cost so far.

    Needed where the ledger could not be read, so that nobody knows: metered backends are not used until then. Nor
    does anybody know by whom it was spent: where a backend, a route or a client has a limit of its own, the sum then
    counts there too, in full. It also takes the machine's clock for right again, after it was wrong.

    \b
    Examples:
      routerctl budget set-spent --today 0 --month 12.50
    """
    with daemon(as_json=as_json) as client:
        _show(client.set_spent(microusd(today), microusd(month)), as_json=as_json)


def _show(found: BudgetResult, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    allowed = "metered backends may be used" if found.allowed else f"metered backends are not used: {found.reason}"
    click.echo(f"{found.day} ({found.time_zone}): {allowed}")
    click.echo(f"books in {'a file' if found.store == 'file' else 'memory'}, prices of {found.prices}")
    click.echo("\n" + table([_line(line) for line in found.lines]))
    if found.quotas:
        click.echo("\n" + table([_quota(quota) for quota in found.quotas]))


def _line(line: BudgetLine) -> dict[str, str]:
    return {
        "scope": line.scope,
        "period": line.period,
        "spent": dollars(line.spent_microusd),
        "reserved": dollars(line.reserved_microusd) if line.reserved_microusd else "",
        "limit": "" if line.limit_microusd is None else dollars(line.limit_microusd),
        "left": "" if line.left_microusd is None else dollars(line.left_microusd),
    }


def _quota(quota: QuotaStatus) -> dict[str, str]:
    money = quota.unit == "usd"
    used, amount = (dollars(n) if money else str(n) for n in (quota.used, quota.amount))
    return {
        "quota of": quota.backend,
        "per": quota.per,
        "used": f"{used} of {amount}{'' if money else f' {quota.unit}'}",
        "left": f"{quota.left / quota.amount:.0%}",
        "full again in": seconds(quota.resets_in_s),
        "left for the time": f"{quota.pressure:.2f}",
    }
