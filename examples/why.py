"""Ask who would answer, and why, for callers of different kinds. Needs a running daemon: routerd serve."""

from routerd_client import Client

CALLERS: list[dict[str, str]] = [
    {"platform": "discord", "source_kind": "stranger"},
    {"platform": "cli", "task": "plan"},
    {},
]

with Client(name="examples/why.py") as client:
    for context in CALLERS:
        decision = client.route("Plan my week", context=context, trace=True)
        print(context or "nobody in particular")
        for line in decision.trace:
            print(f"  {line}")
