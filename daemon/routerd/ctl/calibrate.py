from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import msgspec

from routerd_client.records import ChatRecord, FailureKind

from ..config.places import places
from ..routing.classify.calibrate import Calibration, Row, calibrate
from ..routing.classify.learned import By, encode
from .common import EXIT_FAILED, EXIT_WRONG, json_option, print_json
from .ledger import recorded, since_option

FILES = {"rules": "classifier.msgpack", "learned": "classifier.msgpack", "judge": "judge.msgpack"}
"""What each is saved as in the state folder."""
BAR = 50
_WANTING = {FailureKind.REFUSAL, FailureKind.EMPTY, FailureKind.DEGENERATE}
"""Failures that are the answer's and not the backend's."""


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--weak", metavar="BACKEND", help="Learn from the ledger what this backend's answers came to.")
@since_option
@click.option(
    "--by",
    type=click.Choice(["rules", "learned", "judge"]),
    default="learned",
    show_default=True,
    help="What is fitted.",
)
@click.option(
    "--target-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.3,
    show_default=True,
    help="The part of your requests that may go to the strong model.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="MODEL", help="Save here, not in the state folder.")
@click.option("--png", type=click.Path(path_type=Path), metavar="OUT", help="Draw the curve; needs the extra 'plot'.")
@json_option
def command(
    file: Path | None,
    weak: str | None,
    since: float | None,
    by: By,
    target_share: float,
    out: Path | None,
    png: Path | None,
    as_json: bool,
) -> None:
    """Fit a classifier to your own outcomes.

    They come from FILE, or, with --weak, from the daemon's ledger, where texts are kept (ledger: {text: true}): a
    request is simple where that backend's answer stood, and complex where it was found wanting, or feedback called
    it bad.

    FILE has one JSON object a line: {"prompt": ..., "strong_score": 1, "weak_score": 0}, scores on any one scale,
    or {"prompt": ..., "label": "simple" or "complex"}. 'rules' sets only the threshold of the built-in score;
    'learned' trains on the prompts; 'judge' on each row's "weak_answer" too, to say whether it should stand.
    Rows with "contaminated": true are left out. Every figure is measured on prompts that the model measured had not
    seen.

    \b
    Examples:
      routerctl calibrate outcomes.jsonl --target-share 0.2
      routerctl calibrate outcomes.jsonl --by rules --json
      routerctl calibrate --weak small --since 30d
    """
    if (file is None) == (weak is None):
        raise click.UsageError("give either FILE or --weak BACKEND")
    plot = _pyplot() if png else None
    source = str(file or "the ledger")
    try:
        rows = _read(file, by) if file else outcomes_of(recorded(since, as_json=as_json), weak or "", by)
        done = calibrate(rows, by, target_share, datetime.now(UTC).date().isoformat())
    except ValueError as error:
        text = str(error)
        click.echo(f"routerctl: {text if text.startswith(f'{source}:') else f'{source}: {text}'}", err=True)
        sys.exit(EXIT_WRONG)
    saved = out or places().state / FILES[by]
    try:
        _save(saved, encode(done.classifier))
        if plot:
            _draw(plot, png, done)
    except OSError as error:
        click.echo(f"routerctl: cannot write: {error}", err=True)
        sys.exit(EXIT_FAILED)
    if as_json:
        print_json(_figures(done) | {"file": str(saved)})
    else:
        click.echo(_report(done, saved))


def outcomes_of(chats: Iterable[ChatRecord], weak: str, by: By) -> list[Row]:
    """What ``chats`` say of the backend ``weak``: those that it answered, or answered so that another was asked, and
    whose texts were kept. Raises ``ValueError`` where no text was."""
    rows, mute = [], 0
    for chat in chats:
        simple = _stood(chat, weak)
        if simple is None:
            continue
        answer = chat.answer if chat.backend == weak else None
        if chat.prompt is None:
            mute += 1
        elif by != "judge" or answer is not None:
            rows.append(Row(chat.prompt, label="simple" if simple else "complex", weak_answer=answer))
    if mute and not rows:
        raise ValueError(f"no texts of {mute} requests were kept: set ledger: {{text: true}} in routes.yaml")
    return rows


def _stood(chat: ChatRecord, weak: str) -> bool | None:
    """Whether the answer of ``weak`` was good enough; None where it gave none."""
    if chat.backend == weak and chat.feedback:
        return sum(said.score for said in chat.feedback) / len(chat.feedback) >= 0.5
    if chat.backend == weak:
        return chat.flaw is None
    return False if any(a.backend == weak and a.failure in _WANTING for a in chat.attempts) else None


def _read(file: Path, by: By) -> list[Row]:
    with file.open("rb") as lines:
        return read_rows(lines, str(file), by)


def read_rows(lines: Iterable[bytes], name: str, by: By) -> list[Row]:
    """The rows of ``lines``; empty lines and contaminated rows are passed over. Raises ``ValueError`` with
    ``name:line`` for the first one that cannot be used for ``by``."""
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}:{number}: {error}") from error
        if row.contaminated:
            continue
        if row.scores is None:
            raise ValueError(f'{name}:{number}: give "strong_score" and "weak_score", or "label"')
        if by == "judge" and row.weak_answer is None:
            raise ValueError(f'{name}:{number}: a judge needs "weak_answer", what the weak model answered')
        rows.append(row)
    return rows


def _save(path: Path, data: bytes) -> None:
    """Whole or not at all: the daemon may read it at any time."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f"{path.name}.new")
    scratch.write_bytes(data)
    scratch.replace(path)


def _figures(done: Calibration) -> dict[str, Any]:
    made = done.classifier
    return {
        "by": made.by,
        "rows": made.rows,
        "target_share": made.target_share,
        "threshold": made.threshold,
        "share": done.share,
        "recovered": done.recovered,
        "apgr": done.curve.apgr,
        "cpt50": done.curve.cpt(50),
        "cpt80": done.curve.cpt(80),
        "length_apgr": done.length.apgr,
        "weak": done.curve.weak,
        "strong": done.curve.strong,
        "curve": [list(point) for point in zip(done.curve.shares, done.curve.recovered, strict=True)],
    }


def _report(done: Calibration, saved: Path) -> str:
    made, curve = done.classifier, done.curve
    lines = [f"{made.rows} rows; weak model {curve.weak:.3f}, strong model {curve.strong:.3f}", ""]
    lines += ["to the strong model   part of the gap recovered, on unseen prompts"]
    for share, recovered in zip(curve.shares, curve.recovered, strict=True):
        bar = "#" * round(BAR * min(max(recovered, 0.0), 1.0))
        lines.append(f"{share:19.0%}   {bar:{BAR}} {recovered:4.0%}")
    lines += [
        "",
        f"APGR {curve.apgr:.3f} (random 0.5, length of the prompt {done.length.apgr:.3f})  "
        f"CPT50 {curve.cpt(50):.0f} %  CPT80 {curve.cpt(80):.0f} %",
        f"threshold {made.threshold:.4g}: {done.share:.0%} of these prompts go to the strong model and recover "
        f"{done.recovered:.0%} of the gap",
    ]
    if curve.apgr <= max(0.5, done.length.apgr):
        lines.append(
            "This is no better than the prompt's length or chance: more rows may help; so far it decides little."
        )
    return "\n".join([*lines, f"saved to {saved}; routerctl reload loads it"])


def _pyplot() -> Any:
    try:
        import_module("matplotlib").use("Agg")
        return import_module("matplotlib.pyplot")
    except ImportError:
        click.echo(f"routerctl: --png needs matplotlib: {sys.executable} -m pip install 'routerd[plot]'", err=True)
        sys.exit(EXIT_WRONG)


def _draw(pyplot: Any, path: Path | None, done: Calibration) -> None:
    figure, axes = pyplot.subplots()
    for name, curve in ((done.classifier.by, done.curve), ("prompt length", done.length)):
        axes.plot(curve.shares, curve.recovered, label=f"{name}, APGR {curve.apgr:.3f}")
    axes.plot([0, 1], [0, 1], linestyle=":", label="random, APGR 0.5")
    axes.set_xlabel("share of requests to the strong model")
    axes.set_ylabel("part of the quality gap recovered")
    axes.legend()
    figure.savefig(path)
