"""What a worker answers: streams, batches, stop strings, seeds, log probabilities."""

from __future__ import annotations

import math

import pytest

from routerd.wire import FromWorker, Generate, Piece, Ping, Pong, Prefill
from routerd.worker.lm import Model
from routerd_client.chat import FinishReason
from tests.mlx.in_process import run_engine
from tests.support.worker_client import WorkerClient, ask

PROMPTS = [f"question number {n} " * (n + 1) for n in range(8)]


def test_ready_comes_after_a_token(worker: WorkerClient) -> None:
    ready = worker.ready()

    assert [m.phase for m in worker.loading][:1] == ["import"]
    assert {m.phase for m in worker.loading} == {"import", "weights", "warmup"}
    assert (ready.context, ready.tools, ready.reasoning) == (2048, False, False)
    assert ready.vocab > 256
    assert ready.versions.keys() == {"mlx", "mlx_lm"}
    assert ready.memory.active > 0


def test_an_answer_streams_token_by_token(worker: WorkerClient) -> None:
    answer = worker.chat(ask(max_tokens=12))

    assert sum(piece.tokens for piece in answer.pieces) == 12
    assert answer.text
    assert answer.finished.finish_reason is FinishReason.LENGTH
    assert answer.finished.usage.completion_tokens == 12
    assert answer.prefills[-1].done == answer.prefills[-1].total == answer.finished.usage.prompt_tokens


def test_the_end_of_a_prompt_is_told_with_the_first_token(tiny: Model) -> None:
    def ping(message: FromWorker) -> Ping | None:
        return Ping(id=9) if isinstance(message, Prefill) and message.done == message.total else None

    kinds = [type(m) for m in run_engine(tiny, [Generate(id=0, chat=ask())], answer=ping).messages]

    assert kinds[: kinds.index(Piece)] == [Prefill] * kinds.index(Piece)
    assert kinds.index(Pong) > kinds.index(Piece) > 0


def test_greedy_text_is_the_same_alone_and_among_eight(worker: WorkerClient) -> None:
    alone = [worker.chat(ask(prompt, max_tokens=24)).text for prompt in PROMPTS]
    together = worker.start_all(ask(prompt, max_tokens=24) for prompt in PROMPTS)

    assert [worker.result(id_).text for id_ in together] == alone


def test_a_seed_gives_the_same_text_alone_and_among_eight(worker: WorkerClient) -> None:
    seeded = ask(temperature=1.0, sampling={"seed": 2**64 - 1, "top_p": 0.9, "top_k": 50}, max_tokens=24)
    alone = worker.chat(seeded).text
    first, *others = worker.start_all([seeded, *(ask(p, temperature=1.0, max_tokens=24) for p in PROMPTS[1:])])

    assert worker.result(first).text == alone
    assert all(worker.result(id_).finished for id_ in others)


def test_different_seeds_give_different_texts(worker: WorkerClient) -> None:
    texts = {worker.chat(ask(temperature=1.0, sampling={"seed": seed})).text for seed in range(3)}

    assert len(texts) == 3


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.0, "top_p": 0.5, "min_p": 0.1, "top_k": 5},
        {"temperature": 1.0, "xtc_probability": 1.0, "xtc_threshold": 0.0},
        {"repetition_penalty": 1.3, "presence_penalty": 1.0, "frequency_penalty": 1.0},
        {"logit_bias": {0: -100.0, 7: 2.5}},
        {"temperature": 0.0, "seed": 1},
    ],
)
def test_every_sampling_setting_is_understood(worker: WorkerClient, sampling: dict[str, object]) -> None:
    answer = worker.chat(ask(sampling=sampling))

    assert answer.finished.usage.completion_tokens == 16


def test_a_bias_draws_the_token(worker: WorkerClient) -> None:
    answer = worker.chat(ask(sampling={"logit_bias": {5: 10000.0}}, max_tokens=4))

    assert answer.text == answer.text[0] * 4


def test_a_stop_string_ends_the_answer_before_it(worker: WorkerClient) -> None:
    whole = worker.chat(ask(max_tokens=32)).text
    stop = whole[6:10]
    answer = worker.chat(ask(max_tokens=32, stop=[stop]))

    assert answer.text == whole[: whole.index(stop)]
    assert answer.finished.finish_reason is FinishReason.STOP


def test_a_stop_string_that_never_comes_costs_no_text(worker: WorkerClient) -> None:
    whole = worker.chat(ask(max_tokens=16)).text
    answer = worker.chat(ask(max_tokens=16, stop=[whole[-3:] + "never"]))

    assert answer.text == whole


def test_the_end_token_ends_the_answer(worker: WorkerClient) -> None:
    end = worker.ready().vocab - 1
    answer = worker.chat(ask(sampling={"logit_bias": {end: 10000.0}}))

    assert answer.text == ""
    assert answer.finished.finish_reason is FinishReason.STOP


def test_logprobs_come_with_each_token(worker: WorkerClient) -> None:
    answer = worker.chat(ask(max_tokens=4, logprobs=True, top_logprobs=3))
    found = [logprob for piece in answer.pieces for logprob in piece.logprobs]

    assert len(found) == 4
    for logprob in found:
        assert -math.inf < logprob.logprob <= 0
        assert [t.logprob for t in logprob.top] == sorted((t.logprob for t in logprob.top), reverse=True)
        assert logprob.top[0].token == logprob.token, "greedy takes the likeliest"


def test_max_tokens_is_cut_to_the_context(tiny_folder, tmp_path) -> None:
    with WorkerClient(tiny_folder, "--context", "64", "--max-tokens", "1000") as worker:
        assert worker.ready().context == 64
        usage = worker.chat(ask(max_tokens=None)).finished.usage

    assert usage.total_tokens == 64


def test_ping_reports_memory_and_requests(worker: WorkerClient) -> None:
    id_ = worker.start(ask(max_tokens=500))
    pong = worker.ping()
    worker.result(id_)

    assert pong.in_flight == 1
    assert pong.memory.peak >= pong.memory.active > 0
