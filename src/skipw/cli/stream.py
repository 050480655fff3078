"""``skipw stream``: inputs one by one, as on a device."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from skipw.cli.app import app
from skipw.cli.tables import ENCODING, MARK, is_title, numbers_of
from skipw.errors import DataFormatError, ParamsError, ShapeError
from skipw.operating_point import OperatingPoint

SETTING = re.compile(r"(budget|threshold)=(\S+)")
ENGINES = ("auto", "c", "numpy", "onnx")


@app.command()
def stream(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder that `skipw pull` wrote.")],
    source: Annotated[
        str, typer.Argument(metavar="INPUT", help="A file with an input a line; - is standard input.")
    ] = "-",
    budget: Annotated[int | None, typer.Option(help="Most inputs processed in a window.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least importance of a processed input.")] = None,
    engine: Annotated[str, typer.Option(help=f"One of {', '.join(ENGINES)}.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    every: Annotated[int, typer.Option(min=0, help="Print every n-th input only; 0: the end only.")] = 1,
    seed: Annotated[int | None, typer.Option(help="For selectors that draw.")] = None,
) -> None:
    """Stream inputs through a model: numbers with commas between, or a word, a line each.

    The line of an input that is skipped is not even parsed; only of the first one the numbers are counted. A line
    such as `@budget=3 threshold=0.4` moves the operating point from the next input on. What is left out is taken
    from the bundle.
    """
    model, own, create = _open(bundle, engine, seed)
    running, labels = create(_start(own, budget, threshold)), _labels(model)
    status = 0
    try:
        try:
            for shown in _run(running, _lines(source), model.architecture, every, source):
                _print(_answer(shown, labels), as_json)
        except KeyboardInterrupt:
            status = 130
        _print_usage(running, labels, as_json)
    except BrokenPipeError:  # whoever read this has gone; Python would complain about it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(status)


Opened = tuple[Any, OperatingPoint | None, Callable[[OperatingPoint | None], Any]]


def _open(folder: Path, engine: str, seed: int | None) -> Opened:
    """A bundle, or the plain folder of a model: the model, its own point, what makes a stream."""
    from skipw.runtime.bundle import BUNDLE_FILE, load_bundle
    from skipw.runtime.stream import StreamModel

    if engine not in ENGINES:
        raise ParamsError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}.")
    if (folder / BUNDLE_FILE).is_file() or engine == "onnx":
        bundle = load_bundle(folder)
        return (
            bundle.stream_model(engine),
            bundle.default_point,
            partial(bundle.create_stream, engine=engine, seed=seed),
        )
    model = StreamModel.load(folder, engine=engine)
    return model, None, partial(model.create_stream, seed=seed)


def _labels(model: Any) -> list[str] | None:
    """The classes' names; None in regression."""
    if model.architecture.task != "classification":
        return None
    names = [str(name) for name in model.description.get("classes") or []]
    return names or [str(number) for number in range(model.architecture.num_outputs)]


def _start(own: OperatingPoint | None, budget: int | None, threshold: float | None) -> OperatingPoint | None:
    if budget is None and threshold is None:
        return own
    base = own or OperatingPoint()
    return OperatingPoint(
        base.budget if budget is None else budget, base.threshold if threshold is None else threshold
    )


def _lines(source: str) -> Iterator[str]:
    """The lines of a file or of standard input, as they come.

    Raises:
        DataFormatError: if it cannot be read.
    """
    try:
        file = sys.stdin if source == "-" else open(source, encoding=ENCODING)  # noqa: SIM115
    except OSError as error:
        raise DataFormatError(
            f"{source} cannot be read ({error}); give a file with an input a line."
        ) from error
    with nullcontext() if source == "-" else file:
        mark = MARK  # a file's own is taken off where it is decoded
        while True:
            try:
                line = file.readline().removeprefix(mark)
                mark = ""
            except (OSError, UnicodeDecodeError) as error:
                raise DataFormatError(
                    f"{_place(source)} cannot be read on ({error}); expected text."
                ) from error
            if not line:
                return
            yield line


def _place(source: str) -> str:
    return "standard input" if source == "-" else source


def _run(
    running: Any, lines: Iterator[str], architecture: Any, every: int, source: str
) -> Iterator[dict[str, Any]]:
    """Feed the stream; what was decided at every n-th input."""
    words, count, titled = bool(architecture.vocabulary_size), 0, False
    for number, line in enumerate(lines, start=1):
        if line.startswith("@") and (words is False or SETTING.search(line)):
            running.set_operating_point(_moved(running.operating_point, line, number))
            continue
        if line.isspace():
            continue
        if number == 1 and not words and is_title(line):
            titled = True
            continue
        due = running.needs_input
        if due:
            try:
                running.process(line.strip() if words else numbers_of(line))
            except ShapeError as error:
                raise DataFormatError(f"{_place(source)}, line {number}: {error}") from error
        elif count or words or (width := len(line.split(","))) == architecture.input_size:
            running.skip()
        else:  # a table of another kind, which inputs that are all skipped would hide
            raise DataFormatError(
                f"{_place(source)}, line {number}: an input of this model is {architecture.input_size} numbers, got "
                f"{width} fields; give its own inputs, one a line."
            )
        if every and count % every == 0:
            yield {"t": count, "processed": due, "scores": running.output().tolist()}
        count += 1
    if not count:
        what = "a title only" if titled else "nothing"
        raise DataFormatError(f"{_place(source)} holds {what}; expected an input a line.")


def _moved(point: OperatingPoint | None, line: str, number: int) -> OperatingPoint:
    """The point that a line such as ``@budget=3 threshold=0.4`` asks for."""
    settings = dict(SETTING.findall(line))
    if not settings or SETTING.sub("", line[1:]).strip():
        raise DataFormatError(
            f"line {number}: expected @budget=K, @threshold=THR or both, got {line.strip()[:60]!r}."
        )
    base = point or OperatingPoint()
    try:
        budget = settings.get("budget")
        chosen = base.budget if budget is None else None if budget == "all" else int(budget)
        threshold = float(settings["threshold"]) if "threshold" in settings else base.threshold
    except ValueError as error:
        raise DataFormatError(
            f"line {number}: {error}; budget is a whole number, threshold in [0, 1]."
        ) from error
    return OperatingPoint(chosen, threshold)


def _answer(shown: dict[str, Any], labels: list[str] | None) -> dict[str, Any]:
    scores = shown["scores"]
    prediction = scores[0] if labels is None else labels[max(range(len(scores)), key=scores.__getitem__)]
    return {"t": shown["t"], "processed": shown["processed"], "prediction": prediction, "scores": scores}


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        text = json.dumps(
            {**answer, "scores": [round(score, 6) for score in answer["scores"]]}, ensure_ascii=False
        )
    else:
        prediction = answer["prediction"]
        said = f"{prediction:.6g}" if isinstance(prediction, float) else prediction
        text = f"{answer['t']:>6}  {'processed' if answer['processed'] else 'skipped  '}  {said}"
    sys.stdout.write(text + "\n")
    sys.stdout.flush()  # a pipe's reader waits for each


def _print_usage(running: Any, labels: list[str] | None, as_json: bool) -> None:
    usage = running.usage
    last = _answer({"t": usage.inputs - 1, "processed": False, "scores": running.output().tolist()}, labels)
    if as_json:
        summary = {"inputs": usage.inputs, "processed": usage.processed, "fraction": round(usage.fraction, 6)}
        summary |= {"max_in_window": usage.max_in_window, "prediction": last["prediction"]}
        sys.stdout.write(json.dumps({"usage": summary}, ensure_ascii=False) + "\n")
    else:
        most = "" if usage.max_in_window is None else f", at most {usage.max_in_window} in a window"
        sys.stdout.write(
            f"{usage.processed} of {usage.inputs} inputs processed ({usage.fraction:.1%}{most}); "
            f"prediction {last['prediction']}\n"
        )
    sys.stdout.flush()
