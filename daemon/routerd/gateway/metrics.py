"""/metrics: the daemon's counts as Prometheus reads them. Of requests nothing but numbers."""

from __future__ import annotations

from collections.abc import Iterator

from routerd_client.protocol import StatusResult
from routerd_client.records import BreakerState, Residency

from .page import Ask, Reply
from .services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


async def metrics(services: Services, _ask: Ask) -> Reply:
    text = "".join(f"{line}\n" for line in lines(services.status()))
    return Reply(body=text.encode(), content_type=CONTENT_TYPE)


def lines(status: StatusResult) -> Iterator[str]:
    """The exposition of one status."""
    ended = {how: count for how, count in status.requests.items() if how != "open"}
    yield from _family("chats_total", "counter", "Chats since the start, by how they ended.", {"how": ended})
    yield from _family("chats_open", "gauge", "Chats under way.", status.requests["open"])
    yield from _family("uptime_seconds", "gauge", "Since the daemon started.", round(status.uptime_s, 3))
    yield from _family("connections", "gauge", "Connected clients.", status.connections)
    yield from _family("generation", "counter", "Configurations since the start.", status.generation)
    closed = {b.name: int(b.breaker is BreakerState.CLOSED) for b in status.backends}
    yield from _family("backend_up", "gauge", "Whether its breaker is closed.", {"backend": closed})
    rates = {b.name: b.success_rate for b in status.backends if b.success_rate is not None}
    yield from _family("backend_success_ratio", "gauge", "Of its answers in the window.", {"backend": rates})
    waits = {b.name: b.ttft_p50_s for b in status.backends if b.ttft_p50_s is not None}
    yield from _family("backend_first_token_seconds", "gauge", "Median of the window.", {"backend": waits})
    loaded = {m.backend: int(m.residency is Residency.READY) for m in status.models}
    yield from _family("model_loaded", "gauge", "Whether its process is ready.", {"backend": loaded})
    held = {m.backend: m.memory_bytes for m in status.models if m.memory_bytes is not None}
    yield from _family("model_memory_bytes", "gauge", "What its process holds.", {"backend": held})


Values = int | float | dict[str, dict[str, int]] | dict[str, dict[str, float]]


def _family(name: str, kind: str, text: str, values: Values) -> Iterator[str]:
    """``values``: one, or those of a label."""
    yield f"# HELP routerd_{name} {text}"
    yield f"# TYPE routerd_{name} {kind}"
    if not isinstance(values, dict):
        yield f"routerd_{name} {values}"
        return
    for label, found in values.items():
        for key, value in found.items():  # names in routes.yaml need no escapes
            yield f'routerd_{name}{{{label}="{key}"}} {value}'
