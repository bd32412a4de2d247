"""What each classifier is worth: quality recovered for each share of prompts at the strong model.

    python -m benchmarks.routing_quality DIR [--quick] [--json]

DIR has sets of published outcomes, ``routing_NAME.jsonl``: rows {prompt, strong, weak (the models' names),
strong_score, weak_score, contaminated}. What learns is trained on one half of a set, split by a hash of the
prompt, and measured on the other; then the halves change places, and other splits follow. Every classifier is
measured on the same halves; the figures are means. A judge needs the weak model's answers: rows
{prompt, model, response} in any ``*answers*.jsonl`` beside, and is measured, with all others, on the prompts
that have one.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from routerd.routing.classify.complexity import complexity
from routerd.routing.classify.curve import curve
from routerd.routing.classify.judge import answer_features
from routerd.routing.classify.keywords import Keywords, keyword_score
from routerd.routing.classify.text import prompt_features
from routerd.routing.classify.train import Example, fold, train

from .common import machine, versions

SPLITS, QUICK_SPLITS, QUICK_ROWS = 10, 1, 400
GOALS = {("mmlu", "learned"): 0.67, ("gsm8k", "learned"): 0.61, ("routerarena809", "learned"): 0.66} | {
    ("gsm8k+answers", "judge"): 0.69
}
UNDECIDED = 5.0

Row = dict[str, Any]
Scores = list[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.routing_quality", description="What each classifier is worth.")
    parser.add_argument("dir", type=Path)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SPLITS} split, {QUICK_ROWS} rows of a set")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    files = sorted(arguments.dir.glob("routing_*.jsonl"))
    if not files:
        parser.error(f"no routing_*.jsonl in {arguments.dir}")
    answers = _answers(arguments.dir)
    results = []
    for file in files:
        name = file.stem.removeprefix("routing_")
        rows = [row for row in _lines(file) if not row.get("contaminated")]
        rows = rows[:QUICK_ROWS] if arguments.quick else rows
        splits = QUICK_SPLITS if arguments.quick else SPLITS
        results += measure(name, rows, splits)
        answered = [row | {"answer": answers[key]} for row in rows if (key := (row["prompt"], row["weak"])) in answers]
        if answered:
            results += measure(f"{name}+answers", answered, splits)
    if arguments.json:
        facts = {"benchmark": "routing_quality", "machine": machine(), "versions": versions()}
        print(json.dumps(facts | {"figures": results}))
    else:
        _print(results)


def measure(name: str, rows: Sequence[Row], splits: int) -> list[Row]:
    """Mean figures of every classifier over ``splits`` splits, each half measured once. A half on which the strong
    model is no better has no curve, and is left out."""
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    fixed = _fixed(rows)
    for split in range(splits):
        parts = [fold(row["prompt"], 2, f"split {split}") for row in rows]
        for tested in (0, 1):
            test = [i for i, part in enumerate(parts) if part == tested]
            fit = [i for i, part in enumerate(parts) if part != tested]
            scored = {classifier: [scores[i] for i in test] for classifier, scores in fixed.items()}
            strong, weak = ([float(rows[i][key]) for i in test] for key in ("strong_score", "weak_score"))
            if not fit or sum(strong) <= sum(weak):
                continue
            for classifier, scores in (scored | _trained(rows, fit, test)).items():
                its = curve(scores, strong, weak)
                found[classifier].append((its.apgr, its.cpt(50), its.cpt(80)))
    return [_row(name, len(rows), classifier, figures) for classifier, figures in found.items()]


def _fixed(rows: Sequence[Row]) -> dict[str, Scores]:
    """The classifiers that learn nothing."""
    keywords = Keywords()
    hits = [keyword_score(keywords.match(row["prompt"])) for row in rows]
    return {
        "length": [float(len(row["prompt"])) for row in rows],
        "rules": [complexity(row["prompt"]).value for row in rows],
        "keywords": [hit.value if hit.fired else UNDECIDED for hit in hits],
    }


_KINDS: dict[str, Callable[[Row], Example]] = {
    "learned": lambda row: Example(prompt_features(row["prompt"]), _gain(row), row["prompt"]),
    "judge": lambda row: Example(answer_features(row["prompt"], row["answer"]), _gain(row), row["prompt"]),
}


def _trained(rows: Sequence[Row], fit: Sequence[int], test: Sequence[int]) -> dict[str, Scores]:
    """Scores of the rows ``test`` by what was trained on the rows ``fit``."""
    scores = {}
    for name, example in _KINDS.items():
        if name == "judge" and "answer" not in rows[0]:
            continue
        model = train([example(rows[i]) for i in fit])
        scores[name] = [model.score(example(rows[i]).features) for i in test]
    return scores


def _gain(row: Row) -> float:
    return float(row["strong_score"]) - float(row["weak_score"])


def _answers(folder: Path) -> dict[tuple[str, str], str]:
    """What each model answered, by prompt and model."""
    rows = (row for file in sorted(folder.glob("*answers*.jsonl")) for row in _lines(file))
    return {(row["prompt"], row["model"]): row["response"] for row in rows}


def _lines(file: Path) -> Iterable[Row]:
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


def _row(name: str, rows: int, classifier: str, figures: Sequence[tuple[float, float, float]]) -> Row:
    apgr, cpt50, cpt80 = (sum(column) / len(figures) for column in zip(*figures, strict=True))
    spread = (sum((figure[0] - apgr) ** 2 for figure in figures) / len(figures)) ** 0.5
    return {
        "set": name,
        "rows": rows,
        "classifier": classifier,
        "halves": len(figures),
        "apgr": round(apgr, 4),
        "spread": round(spread, 4),
        "cpt50": round(cpt50, 1),
        "cpt80": round(cpt80, 1),
        "goal": GOALS.get((name, classifier)),
    }


def _print(results: Iterable[Row]) -> None:
    print(f"{'set':28} {'rows':>5} {'classifier':10} {'APGR':>6} {'+-':>5} {'CPT50':>6} {'CPT80':>6}  goal")
    for r in results:
        goal = "" if r["goal"] is None else f"> {r['goal']} {'met' if r['apgr'] > r['goal'] else 'NOT MET'}"
        figures = f"{r['apgr']:6.3f} {r['spread']:5.3f} {r['cpt50']:6.1f} {r['cpt80']:6.1f}"
        print(f"{r['set']:28} {r['rows']:5} {r['classifier']:10} {figures}  {goal}")


if __name__ == "__main__":
    main()
