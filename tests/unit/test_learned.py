"""What is remembered of models, and what a damaged file of it does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.config.schema import MlxSpec
from routerd.models.size import Footprint, Weights, footprint
from routerd.supervisor.learned import (
    DECAY,
    ENTRIES,
    OOM_FACTOR,
    Learned,
    LearnedFile,
    Measured,
    after_oom,
    model_key,
)

KEY = model_key(Path("/models/a"), MlxSpec(model="a"))


def model(weights: int = 1000) -> Footprint:
    config = {"model_type": "llama", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    return msgspec.structs.replace(footprint(config, Weights(weights, 2)), base=100)


def test_the_estimate_holds_until_something_was_measured() -> None:
    learned = Learned()

    assert learned.expected(KEY, model(), estimate=5000) == 5000
    learned.record(KEY, model(), peak=3000, load_s=2.5)
    assert learned.expected(KEY, model(), estimate=5000) == 3000
    assert learned.measured(KEY, model()) == Measured(weights=1000, peak=3000, load_s=2.5)


def test_a_higher_peak_counts_at_once_and_a_lower_one_little_by_little() -> None:
    learned = Learned()
    learned.record(KEY, model(), peak=3000)
    learned.record(KEY, model(), peak=4000)
    assert learned.expected(KEY, model(), estimate=0) == 4000
    learned.record(KEY, model(), peak=2000)
    assert learned.expected(KEY, model(), estimate=0) == 4000 - 2000 * DECAY


def test_a_load_that_was_not_measured_leaves_the_last_one() -> None:
    learned = Learned()
    learned.record(KEY, model(), peak=3000, load_s=2.5)
    learned.record(KEY, model(), peak=3000)

    record = learned.measured(KEY, model())

    assert record is not None
    assert record.load_s == 2.5


def test_another_model_under_the_same_name_starts_anew() -> None:
    learned = Learned()
    learned.record(KEY, model(1000), peak=9000, load_s=2.5)

    assert learned.expected(KEY, model(2000), estimate=4000) == 4000
    learned.record(KEY, model(2000), peak=3000)
    assert learned.measured(KEY, model(2000)) == Measured(weights=2000, peak=3000)


def test_settings_that_change_what_a_process_needs_are_kept_apart() -> None:
    settings: list[dict[str, Any]] = [
        {},
        {"concurrency": 1},
        {"context": 4096},
        {"kv_tokens": 4096},
        {"prompt_cache": 0},
        {"adapter": "/adapters/a"},
    ]
    keys = {model_key(Path("/models/a"), MlxSpec(model="a", **each)) for each in settings}

    assert len(keys) == len(settings)
    assert model_key(Path("/models/a"), MlxSpec(model="a", keep_alive=0.0)) in keys


@pytest.mark.parametrize(
    ("claim", "peak", "budget", "next_"),
    [
        (4000, 0, None, 5000),
        (4000, 4800, None, 6000),
        (4800, 4000, None, 6000),
        (4000, 0, 4500, 4500),
        (4000, 5000, 4500, 5000),
        (4500, 0, 4500, 4500),
    ],
)
def test_after_a_kill_for_memory_more_is_planned_as_far_as_there_is_any(
    claim: int, peak: int, budget: int | None, next_: int
) -> None:
    assert OOM_FACTOR == 1.25
    assert after_oom(claim, peak, budget) == next_


def test_after_a_kill_for_memory_the_next_plan_asks_for_more() -> None:
    learned = Learned()
    learned.record(KEY, model(), peak=3000)
    planned = learned.expected(KEY, model(), estimate=5000)
    learned.record(KEY, model(), peak=after_oom(planned, 3100, 10_000))

    assert learned.expected(KEY, model(), estimate=5000) == 3100 * OOM_FACTOR


@given(st.lists(st.integers(0, 10_000)), st.integers(0, 10_000))
def test_less_than_weights_and_base_is_never_reserved(peaks: list[int], estimate: int) -> None:
    learned = Learned()
    for peak in peaks:
        learned.record(KEY, model(), peak=peak)

    assert learned.expected(KEY, model(), estimate) >= 1100


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_a_peak_stays_between_the_last_and_the_highest(peaks: list[int]) -> None:
    learned = Learned()
    for peak in peaks:
        learned.record(KEY, model(), peak=peak)
    record = learned.measured(KEY, model())

    assert record is not None
    assert peaks[-1] <= record.peak <= max(peaks)


def test_the_one_measured_longest_ago_makes_room() -> None:
    learned = Learned()
    for i in range(ENTRIES):
        learned.record(str(i), model(), peak=3000)
    learned.record("0", model(), peak=3000)
    learned.record("new", model(), peak=3000)

    assert len(learned) == ENTRIES
    assert learned.measured("0", model())
    assert learned.measured("1", model()) is None


def test_it_is_there_after_a_restart(tmp_path: Path) -> None:
    learned = Learned()
    learned.record(KEY, model(), peak=3000, load_s=2.5)
    file = LearnedFile(tmp_path / "learned.json")
    file.write(learned.encode())

    again = LearnedFile(tmp_path / "learned.json").read()

    assert again.measured(KEY, model()) == Measured(weights=1000, peak=3000, load_s=2.5)
    assert [path.name for path in tmp_path.iterdir()] == ["learned.json"]


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    assert len(LearnedFile(tmp_path / "learned.json").read()) == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"\xff": 1}', b"[]", b"null", b'{"a": 7}'])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "learned.json").write_bytes(content)

    assert len(LearnedFile(tmp_path / "learned.json").read()) == 0


def test_a_damaged_record_costs_only_itself(tmp_path: Path) -> None:
    good = {"weights": 1000, "peak": 3000}
    records = {"a": good | {"peak": -1}, "b": good | {"load_s": "fast"}, "c": {"peak": 1}, "d": good | {"later": True}}
    (tmp_path / "learned.json").write_text(json.dumps(records))

    learned = LearnedFile(tmp_path / "learned.json").read()

    assert len(learned) == 1
    assert learned.measured("d", model()) == Measured(weights=1000, peak=3000)


def test_a_file_with_too_much_is_cut(tmp_path: Path) -> None:
    records = {str(i): {"weights": 1000, "peak": 3000} for i in range(ENTRIES + 5)}
    (tmp_path / "learned.json").write_text(json.dumps(records))

    learned = LearnedFile(tmp_path / "learned.json").read()

    assert len(learned) == ENTRIES
    assert learned.measured("0", model()) is None


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = LearnedFile(tmp_path / "learned.json")
    file.write(Learned({"a": Measured(1000, 3000)}).encode())
    (tmp_path / "learned.new").mkdir()

    with pytest.raises(OSError, match=r"learned\.new"):
        file.write(b"{}")

    assert len(file.read()) == 1
