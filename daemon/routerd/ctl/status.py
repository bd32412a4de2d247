from __future__ import annotations

import time

import click

from routerd_client.protocol import StatusResult
from routerd_client.records import BackendStatus, MemoryStatus, ModelStatus, TaskFailure

from .common import daemon, json_option, print_json, seconds, size, table


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show the daemon, its backends and models.

    \b
    Examples:
      routerctl status
      routerctl status --json | jq '.backends[] | {name, breaker, success_rate}'
    """
    with daemon(as_json=as_json) as client:
        status = client.status()
    if as_json:
        print_json(status)
    else:
        click.echo(text(status))


def text(status: StatusResult) -> str:
    """The status as a person reads it."""
    requests = ", ".join(f"{count} {how}" for how, count in status.requests.items())
    lines = [
        f"routerd {status.version}  pid {status.pid}  up {seconds(status.uptime_s)}  generation {status.generation}",
        f"config   {status.config}",
        f"socket   {status.socket}",
        f"log      {status.log_file}",
        f"chats    {requests}",
    ]
    if status.http or status.http_error:
        lines.append(f"http     {status.http or status.http_error}")
    if status.memory:
        lines.append(f"memory   {_memory(status.memory)}")
    if status.ledger and status.ledger.mode != "file":
        lines.append(f"ledger   in memory only: {status.ledger.reason}")
    if status.ledger and status.ledger.dropped:
        lines.append(f"ledger   {status.ledger.dropped} records lost")
    if status.ledger and status.ledger.set_aside:
        lines.append(f"ledger   was damaged, and begun anew: what was in it is in {status.ledger.set_aside}")
    if status.locked:
        lines.append(f"money    metered backends are not used: {status.locked}")
    if status.crashes:
        lines.append(f"crashes  {_crashes(status.crashes)}")
    lines += [f"failed   {_task(f)}" for f in status.task_failures]
    lines += [f"REFUSED  {e}  (generation {status.generation} stays in force)" for e in status.config_errors]
    lines += [f"notice   {model.backend} {model.notice}" for model in status.models if model.notice]
    lines += ["", table([_backend(status, b) for b in status.backends])]
    lines += ["", table([model_row(m) for m in status.models])]
    return "\n".join(lines)


def _crashes(crashes: list[float]) -> str:
    last = seconds(time.time() - crashes[-1])
    return f"{len(crashes)} of the daemon in the hour before its start, the last {last} ago: routerctl logs"


def _task(failure: TaskFailure) -> str:
    times = "once" if failure.count == 1 else f"{failure.count} times"
    return f"background task '{failure.task}', {times}: {failure.error} (routerctl logs; please report it)"


def _memory(memory: MemoryStatus) -> str:
    budget = "no limit" if memory.budget is None else size(memory.budget)
    text = f"{size(memory.reserved)} of {budget} reserved"
    if memory.pressure is not None:
        text += f", pressure {memory.pressure:g}%"
    return text + (": idle models are unloaded" if memory.pressed else "")


def _backend(status: StatusResult, backend: BackendStatus) -> dict[str, str]:
    state = backend.breaker.value.replace("_", "-")
    if backend.retry_in_s:
        state += f", retry in {seconds(backend.retry_in_s)}"
    return {
        "backend": backend.name + ("*" if backend.name == status.default else ""),
        "kind": backend.kind,
        "breaker": state,
        "in the last": seconds(backend.window_s) if backend.window_s else "",
        "requests": str(backend.requests),
        "success": "" if backend.success_rate is None else f"{backend.success_rate:.0%}",
        "refused": f"{backend.refusal_rate:.0%}" if backend.refusal_rate else "",
        "ttft p50": seconds(backend.ttft_p50_s),
        "p95": seconds(backend.ttft_p95_s),
        "last error": backend.last_error[:80] if backend.failures else "",
    }


def model_row(model: ModelStatus) -> dict[str, str]:
    return {
        "model": model.backend,
        "state": model.residency.value,
        "reference": model.model,
        "pid": str(model.pid or ""),
        "in flight": str(model.in_flight),
        "memory": size(model.memory_bytes),
        "reserved": size(model.reserved_bytes),
        "pinned": "yes" if model.pinned else "",
        "loaded in": seconds(model.load_s),
        "unloads in": seconds(model.idle_unload_s),
        "error": model.error[:80],
    }
