"""Models that answer one request at a time do all that others do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from routerd.worker.lm import Model, stop_sequences
from routerd.worker.sampling import Samplers
from routerd.worker.solo import SoloGenerator
from routerd_client.chat import Sampling
from routerd_client.records import FailureKind
from tests.support.random_model import architectures, make_random_model
from tests.support.worker_client import WorkerClient, ask

LONG = "one two three four five six seven eight nine ten " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose layers attend to chunks of 8 tokens."""
    return make_random_model(tmp_path_factory.mktemp("models") / "llama4", architectures()["llama4"])


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[WorkerClient]:
    with WorkerClient(folder) as client:
        assert client.ready().alone
        yield client


def test_a_cancel_ends_one_answer_and_lets_the_next_begin(worker: WorkerClient) -> None:
    first, second = worker.start_all([ask(max_tokens=1900), ask(LONG, max_tokens=4)])
    worker.wait(lambda: bool(worker.answers[first].pieces))
    assert not worker.answers[second].pieces
    worker.cancel(first)
    assert worker.result(first).failed.kind is FailureKind.CANCELLED
    assert worker.result(second).finished.usage.completion_tokens == 4


def test_a_waiting_request_can_be_cancelled(worker: WorkerClient) -> None:
    first, second = worker.start_all([ask(max_tokens=200), ask(max_tokens=200)])
    worker.wait(lambda: bool(worker.answers[first].pieces))
    worker.cancel(second)
    assert worker.result(second).failed.kind is FailureKind.CANCELLED
    assert worker.result(first).finished.usage.completion_tokens == 200


def test_prefill_tells_its_progress(worker: WorkerClient) -> None:
    prefills = worker.chat(ask("something else, and " + LONG)).prefills
    assert len(prefills) > 1
    assert prefills[-1].done == prefills[-1].total


def test_what_is_kept_of_a_prompt_changes_no_answer(folder: Path, worker: WorkerClient) -> None:
    chats = [ask(LONG), ask(LONG), ask(LONG + "and more"), ask(LONG[:80])]
    with WorkerClient(folder, "--prompt-cache", "0") as forgetful:
        forgetful.ready()
        fresh = [forgetful.chat(chat) for chat in chats]
    kept = [worker.chat(chat) for chat in chats]
    assert [each.text for each in kept] == [each.text for each in fresh]
    assert kept[1].finished.usage.cached_tokens
    assert not fresh[1].finished.usage.cached_tokens


def test_a_seed_and_log_probabilities_do_as_ever(worker: WorkerClient) -> None:
    chat = ask(logprobs=True, top_logprobs=2, sampling={"temperature": 1.0, "seed": 5})
    first, second = worker.chat(chat), worker.chat(chat)
    assert first.text == second.text
    assert all(len(piece.logprobs[0].top) == 2 for piece in first.pieces if piece.logprobs)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.0),
        Sampling(temperature=0.0, repetition_penalty=1.5),
        Sampling(temperature=0.0, presence_penalty=2.0, frequency_penalty=1.0),
        Sampling(temperature=0.9, seed=3, top_p=0.9),
        Sampling(temperature=0.0, logit_bias={5: 3.0}),
    ],
)
def test_it_draws_what_a_batch_of_one_draws(tiny: Model, sampling: Sampling) -> None:
    solo, batch = SoloGenerator(tiny.model), tiny.generator(1)
    assert drawn(solo, sampling) == drawn(batch, sampling)


def drawn(generator: Any, sampling: Sampling) -> list[int]:
    """Twenty tokens of an answer, its prompt's beginning computed before."""
    drawing = Samplers().drawing(sampling)
    (uid,) = generator.insert_segments(
        [[list(range(30))]],
        max_tokens=[20],
        samplers=[drawing.sampler],
        logits_processors=[drawing.processors],
        stop_sequences=[stop_sequences([])],
    )
    generator.prefill_step_size = 8
    tokens: list[int] = []
    for _ in range(60):
        tokens += [response.token for response in generator.next()[1] if response.uid == uid]
    return tokens
