"""Ask one question, whole and then streamed. Needs a running daemon: routerd serve."""

from routerd_client import Client

with Client(name="examples/ask.py") as client:
    answer = client.chat("What is the capital of France?", max_tokens=24, context={"platform": "cli"})
    print(f"{answer.backend}: {answer.text}")

    for event in client.stream("Name three colours.", max_tokens=24):
        print(event.text, end="", flush=True)
    print()
