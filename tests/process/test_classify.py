"""``routerctl calibrate`` and ``routerctl score`` as they are typed, and the benchmark of the classifiers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest

from routerd.routing.classify.calibrate import Row
from routerd.routing.classify.learned import decode
from tests.support.daemon import ctl
from tests.support.outcomes import outcomes

DONE, WRONG = 0, 2


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return write(tmp_path / "outcomes.jsonl", outcomes())


def scored(*arguments: str, rows: Sequence[Any]) -> dict[str, float]:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = ctl("score", "--stdin", *arguments, stdin=lines)
    assert (done.returncode, done.stderr) == (DONE, "")
    return {row["id"]: row["score"] for row in map(json.loads, done.stdout.splitlines())}


ASKS = [{"id": "hard", "prompt": "prove a lemma about the moon"}, {"id": "easy", "prompt": "say hello to the moon"}]


def test_calibrate_prints_the_curve_and_saves_what_score_uses(labelled: Path, tmp_path: Path) -> None:
    model = tmp_path / "deep" / "mine.msgpack"
    done = ctl("calibrate", str(labelled), "--out", str(model))
    assert (done.returncode, done.stderr) == (DONE, "")
    assert "300 rows" in done.stdout
    assert "APGR 0." in done.stdout
    assert f"saved to {model}" in done.stdout
    scores = scored("--classifier", "learned", "--model", str(model), rows=ASKS)
    assert scores["hard"] > scores["easy"]


def test_calibrate_saves_in_the_state_folder_and_score_finds_it(labelled: Path, tmp_path: Path) -> None:
    state = {"ROUTERD_STATE_DIR": str(tmp_path / "state")}
    for by in ("learned", "judge"):
        assert ctl("calibrate", str(labelled), "--by", by, env=state).returncode == DONE
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"classifier.msgpack", "judge.msgpack"}
    row = json.dumps({"id": 1, "prompt": "add 3 and 4", "weak_answer": "3 + 4 = 9"})
    done = ctl("score", "--stdin", "--classifier", "judge", stdin=row, env=state)
    assert (done.returncode, json.loads(done.stdout)["id"]) == (DONE, 1)


def test_calibrate_as_json_has_these_keys(labelled: Path, tmp_path: Path) -> None:
    model = tmp_path / "m"
    done = ctl("calibrate", str(labelled), "--out", str(model), "--json", "--target-share", "0.2")
    figures = json.loads(done.stdout)
    assert {
        "apgr",
        "cpt50",
        "cpt80",
        "curve",
        "share",
        "recovered",
        "threshold",
        "length_apgr",
        "file",
    } <= figures.keys()
    assert (figures["rows"], figures["by"], figures["target_share"]) == (300, "learned", 0.2)
    assert figures["threshold"] == decode(model.read_bytes()).threshold


def test_contaminated_rows_are_left_out(tmp_path: Path) -> None:
    rows = [*outcomes(), *(msgspec.structs.replace(row, contaminated=True) for row in outcomes(50, seed=2))]
    done = ctl("calibrate", str(write(tmp_path / "rows.jsonl", rows)), "--out", str(tmp_path / "m"), "--json")
    assert json.loads(done.stdout)["rows"] == len(outcomes())


@pytest.mark.parametrize(
    ("line", "by", "why"),
    [
        ("{", "learned", ":2: Input data was truncated"),
        ('{"prompt": 3}', "learned", ":2: Expected `str`"),
        ('{"prompt": "a"}', "learned", ':2: give "strong_score"'),
        ('{"prompt": "a", "label": "hard"}', "learned", ":2: Invalid enum value"),
        ('{"prompt": "a", "label": "simple"}', "judge", ':2: a judge needs "weak_answer"'),
        ('{"prompt": "a", "label": "simple"}', "learned", "2 rows are too few"),
    ],
)
def test_a_row_that_cannot_be_used_is_one_message(tmp_path: Path, line: str, by: str, why: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "label": "complex", "weak_answer": "b"}\n' + line + "\n")
    done = ctl("calibrate", str(file), "--by", by, "--out", str(tmp_path / "m"))
    assert (done.returncode, done.stdout) == (WRONG, "")
    assert done.stderr.startswith(f"routerctl: {file}:")
    assert why in done.stderr
    assert not (tmp_path / "m").exists()


def test_a_picture_is_drawn_or_its_extra_named(labelled: Path, tmp_path: Path) -> None:
    picture = tmp_path / "curve.png"
    done = ctl("calibrate", str(labelled), "--out", str(tmp_path / "m"), "--png", str(picture))
    if find_spec("matplotlib"):
        assert (done.returncode, picture.read_bytes()[:4]) == (DONE, b"\x89PNG")
    else:
        assert (done.returncode, done.stdout) == (WRONG, "")
        assert "pip install 'routerd[plot]'" in done.stderr


@pytest.mark.parametrize(
    ("classifier", "high", "low"),
    [
        ("rules", "Explain async vs threads", "What time is it?"),
        ("keywords", "Plan the optimal path to become Hortator", "Walk to the next room"),
        ("length", "a longer prompt", "a short one"),
    ],
)
def test_score_needs_no_model_for_these(classifier: str, high: str, low: str) -> None:
    scores = scored("--classifier", classifier, rows=[{"id": "h", "prompt": high}, {"id": "l", "prompt": low}])
    assert scores["h"] > scores["l"]


def test_score_reads_a_file_too(tmp_path: Path) -> None:
    done = ctl("score", str(write(tmp_path / "asks.jsonl", ASKS)), "--classifier", "length")
    assert (done.returncode, len(done.stdout.splitlines())) == (DONE, 2)


@pytest.mark.parametrize(
    ("classifier", "line", "why"),
    [
        ("rules", "nonsense", "standard input:2: "),
        ("rules", '{"id": 1}', "standard input:2: Object missing required field `prompt`"),
        ("rules", '{"id": [], "prompt": ""}', "standard input:2: Expected `int | str`"),
    ],
)
def test_a_bad_row_ends_score_with_its_line(classifier: str, line: str, why: str) -> None:
    done = ctl("score", "--stdin", "--classifier", classifier, stdin='{"id": 1, "prompt": "a"}\n' + line + "\n")
    assert (done.returncode, len(done.stdout.splitlines())) == (WRONG, 1)
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_wrong_or_damaged_model_says_what_to_do(labelled: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.msgpack"
    arguments = ("score", "--stdin", "--classifier", "learned", "--model", str(model))
    missing = ctl(*arguments)
    assert (missing.returncode, "routerctl calibrate FILE --by learned" in missing.stderr) == (WRONG, True)
    model.write_bytes(b"damaged")
    damaged = ctl(*arguments)
    assert (damaged.returncode, "calibrate again" in damaged.stderr) == (WRONG, True)
    ctl("calibrate", str(labelled), "--by", "rules", "--out", str(model))
    other = ctl(*arguments)
    assert (other.returncode, "calibrated for 'rules'" in other.stderr) == (WRONG, True)


def test_score_wants_one_source_of_rows() -> None:
    assert ctl("score", "--classifier", "rules").returncode == WRONG


def as_published(row: Row) -> dict[str, Any]:
    return {**msgspec.to_builtins(row), "strong": "s", "weak": "w", "contaminated": row.id == 0}


def test_the_benchmark_measures_every_classifier_on_unseen_halves(tmp_path: Path) -> None:
    rows = outcomes()
    write(tmp_path / "routing_own.jsonl", [as_published(row) for row in rows])
    answers = [{"prompt": row.prompt, "model": "w", "response": row.weak_answer} for row in rows]
    write(tmp_path / "own_answers.jsonl", answers)
    command = [sys.executable, "-m", "benchmarks.routing_quality", str(tmp_path), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    figures = {(row["set"], row["classifier"]): row for row in json.loads(done.stdout)["figures"]}
    assert {name for _, name in figures} == {"length", "rules", "keywords", "learned", "judge"}
    assert figures["own", "learned"]["rows"] == len(rows) - 1
    assert figures["own+answers", "judge"]["apgr"] > figures["own", "learned"]["apgr"] > 0.6
