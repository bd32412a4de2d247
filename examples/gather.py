"""Ask three questions at once; the model decodes them together. Needs a running daemon: routerd serve."""

import anyio

from routerd_client import AsyncClient

QUESTIONS = ["What is the capital of France?", "What is two and two?", "Name a colour."]


async def main() -> None:
    async with AsyncClient(name="examples/gather.py") as client, anyio.create_task_group() as tasks:
        for question in QUESTIONS:
            tasks.start_soon(ask, client, question)


async def ask(client: AsyncClient, question: str) -> None:
    answer = await client.chat(question, max_tokens=24)
    print(f"{question} -> {answer.text}")


anyio.run(main)
