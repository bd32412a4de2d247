"""What is learned from outcomes, what it is worth on others, and the file it is kept in."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routerd.routing.classify.calibrate import MIN_ROWS, Calibration, Row, calibrate
from routerd.routing.classify.judge import MEASURES, answer_features
from routerd.routing.classify.learned import BadModelError, By, Classifier, decode, encode
from routerd.routing.classify.text import FORM, HEAD, TAIL, prompt_features
from routerd.routing.classify.train import FOLDS, fold
from tests.support.outcomes import outcomes


@pytest.fixture(scope="module")
def learned() -> Calibration:
    return calibrate(outcomes(), "learned", 0.3, "2026-01-31")


def test_it_learns_which_prompts_need_the_strong_model(learned: Calibration) -> None:
    score = learned.classifier.score
    assert score("prove a lemma about the lighthouse") > score("say hello to the lighthouse")
    assert learned.curve.apgr > 0.65
    assert learned.curve.apgr > learned.length.apgr


def test_the_figures_are_those_of_prompts_it_has_not_seen() -> None:
    """Outcomes that hang on nothing are learned by heart, and the figures must not believe it."""
    rows = outcomes()
    shuffled = [
        msgspec.structs.replace(row, prompt=f"{row.prompt} x{fold(row.prompt, 1000)}", weak_score=float(i % 2))
        for i, row in enumerate(rows)
    ]
    assert calibrate(shuffled, "learned", 0.3, "").curve.apgr == pytest.approx(0.5, abs=0.1)


def test_the_threshold_sends_the_wanted_share(learned: Calibration) -> None:
    assert learned.share == pytest.approx(0.3, abs=0.02)
    fresh = [row.prompt for row in outcomes(seed=2)]
    made = learned.classifier
    sent = sum(made.needs_strong(made.score(prompt)) for prompt in fresh) / len(fresh)
    assert sent == pytest.approx(0.3, abs=0.12)


def test_a_rating_is_the_share_of_prompts_below(learned: Calibration) -> None:
    made = learned.classifier
    assert made.level(min(made.levels) - 1) == 0.0
    assert made.level(max(made.levels) + 1) == 10.0
    assert made.rate("derive a bound for the moon and a teapot 7").value > 5.0
    assert made.rate("name a friend of the moon and a teapot 7").value < 5.0


def test_labels_do_instead_of_scores() -> None:
    rows = [Row(r.prompt, label="simple" if r.weak_score else "complex") for r in outcomes()]
    assert calibrate(rows, "learned", 0.3, "").curve.apgr > 0.65


def test_a_judge_reads_the_answer() -> None:
    made = calibrate(outcomes(), "judge", 0.3, "")
    assert made.curve.apgr > 0.7
    prompt = "say hello to 12 and 5"
    assert made.classifier.score(prompt, "12 + 5 = 23.") > made.classifier.score(prompt, "12 + 5 = 17.")


def test_rules_are_calibrated_by_a_threshold_alone() -> None:
    rows = [Row(f"Explain async vs threads {i}", 1, 0) for i in range(30)]
    rows += [Row(f"What time is it? {i}", 1, 1) for i in range(70)]
    made = calibrate(rows, "rules", 0.3, "")
    assert [made.share, made.recovered] == pytest.approx([0.3, 1.0])
    assert made.classifier.linear is None
    assert not made.classifier.rate("hello").fired


def test_many_equal_scores_never_send_more_than_the_share() -> None:
    rows = [Row(f"hello {i}", 1, i % 2) for i in range(60)]
    assert calibrate(rows, "rules", 0.3, "").share == 0.0


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([Row("a", 1, 0)] * (MIN_ROWS - 1), "too few"),
        ([Row(f"a {i}", 0, 1) for i in range(50)], "no better than the weak one"),
    ],
)
def test_nothing_to_learn_from_is_said(rows: list[Row], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        calibrate(rows, "learned", 0.3, "")


@pytest.mark.parametrize("by", ["rules", "learned", "judge"])
def test_a_file_brings_back_the_same_scores(by: By) -> None:
    made = calibrate(outcomes(), by, 0.3, "2026-01-31").classifier
    read = decode(encode(made))
    assert (read.by, read.rows, read.trained, read.threshold) == (by, 300, "2026-01-31", made.threshold)
    for row in outcomes(20, seed=3):
        answer = row.weak_answer or ""
        assert read.score(row.prompt, answer) == pytest.approx(made.score(row.prompt, answer), abs=1e-5)


def test_a_file_holds_nobodys_words(learned: Calibration) -> None:
    data = encode(learned.classifier)
    assert not any(word.encode() in data for word in ("eigenvalues", "teapot", "hello"))


def broken(made: Classifier) -> list[tuple[bytes, str]]:
    data = encode(made)
    fields = msgspec.msgpack.decode(data)
    return [
        (b"", "damaged"),
        (b"not a model", "damaged"),
        (data[: len(data) // 2], "damaged"),
        (msgspec.msgpack.encode(fields | {"hashes": b"123"}), "damaged"),
        (msgspec.msgpack.encode(fields | {"products": b""}), "damaged"),
        (msgspec.msgpack.encode(fields | {"routerd_classifier": 99, "levels": "new"}), "version 99.*upgrade"),
        (msgspec.msgpack.encode(fields | {"form": fields["form"][1:]}), "another routerd"),
        (msgspec.msgpack.encode(fields | {"levels": []}), "another routerd"),
    ]


@pytest.mark.parametrize("case", range(8))
def test_a_damaged_or_newer_file_is_one_clear_error(learned: Calibration, case: int) -> None:
    data, why = broken(learned.classifier)[case]
    with pytest.raises(BadModelError, match=why):
        decode(data)


@given(st.text(max_size=500), st.text(max_size=500))
def test_any_text_has_all_measures_and_always_the_same(prompt: str, answer: str) -> None:
    features, judged = prompt_features(prompt), answer_features(prompt, answer)
    assert (len(features.form), len(judged.form)) == (len(FORM), len(MEASURES))
    assert (features, judged) == (prompt_features(prompt), answer_features(prompt, answer))


def test_what_stands_in_the_middle_of_a_huge_text_is_not_read() -> None:
    ends = "a " * (HEAD // 2), " b" * (TAIL // 2)
    short, long = (prompt_features(f"{ends[0]}{middle}{ends[1]}") for middle in ("\n", "x" * 10**6))
    assert short.grams == long.grams


@pytest.mark.parametrize(
    ("prompt", "answer", "measure", "value"),
    [
        ("12 pens and 5 more", "12 + 5 = 17", "wrong_sums", 0.0),
        ("12 pens and 5 more", "12 + 5 = 18", "wrong_sums", 1.0),
        ("a cost of $20", "20 + 1.5 x 30 = $<<20+1.5*30=55>>55", "wrong_sums", 1.0),
        ("two", "2 * 30 - 12 = 60 - 12 = 48", "wrong_sums", 0.0),
        ("two", "1,000 / 4 = 250 and 3 - 5 = -2", "wrong_sums", 0.0),
        ("Twelve pens, 5 lost", "12", "unused_numbers", 0.5),
        ("how many", "It is 2.5", "fraction", 1.0),
        ("how many", "None that I know.", "no_number", 1.0),
        ("how many", "4 and 3 make 7. So 7", "result_once", 0.0),
        ("how many", "75 - ", "breaks_off", 1.0),
        ("how many", "", "empty", 1.0),
    ],
)
def test_what_an_answer_is_measured_by(prompt: str, answer: str, measure: str, value: float) -> None:
    assert answer_features(prompt, answer).form[MEASURES.index(measure)] == value


@pytest.mark.parametrize("hostile", ["1+" * 200_000, "1" * 500_000, "1 = " * 100_000, "$(" * 200_000, "9" * 400 + "."])
def test_a_hostile_answer_is_judged_too(hostile: str) -> None:
    assert len(answer_features("how many", hostile).form) == len(MEASURES)


def test_equal_prompts_fall_into_the_same_fold() -> None:
    assert {fold("hello") for _ in range(3)} == {fold("hello")}
    assert {fold(str(i)) for i in range(100)} == set(range(FOLDS))
