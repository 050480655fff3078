"""The README.md of a bundle, for the person who deploys it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from skipw.models.architecture import Architecture
from skipw.runtime.measured import MeasuredPoint
from skipw.runtime.weights import DENSE, Weights

__all__ = ["point_text", "readme", "sampling_text", "value_text"]

KINDS = {"skipw": "SkipW", "thrrnn": "ThrRNN", "skiprnn": "SkipRNN"}


def readme(
    facts: Mapping[str, Any],
    weights: Weights,
    points: Sequence[MeasuredPoint],
    *,
    in_c: bool,
    in_onnx: bool = True,
) -> str:
    """The page.

    Args:
        facts: bundle.json.
        weights: of the model.
        points: operating_points.csv.
        in_c, in_onnx: whether there is a folder c/, onnx/.
    """
    a = weights.architecture
    sections = [
        f"# {facts['model']}{' ' + facts['version'] if facts['version'] else ''}",
        _summary(facts, weights),
        "## Accuracy and cost",
        *_table(a, points),
        "## Check it",
        _block(
            "sha256sum -c --quiet SHA256SUMS     # in this folder: silence means that every file is whole"
        ),
        "`skipw` verifies every file when it loads the bundle, and refuses a damaged one. `example.json` holds a "
        "made-up sequence with the decisions and outputs of the reference implementation at each of its points.",
        "## Python",
        _block(_python(a, facts), "python"),
        _switching(a),
        "From a file or a pipe, an input a line (keep own files outside of this folder, its list is complete):",
        _block(f"skipw stream DIR inputs.{'txt' if a.vocabulary_size else 'csv'} --json"),
    ]
    if in_onnx:
        sections += [
            "## ONNX Runtime",
            _block(
                "python onnx/run.py                  # runs example.json; needs onnxruntime and numpy, no skipw"
            ),
            _onnx(a),
        ]
    if in_c:
        sections += [
            "## C",
            _block(_c(a)),
            "`c/` holds the step in C99 with this model's weights packed in, for boards: nothing is allocated, of "
            "the C library it needs memcpy, memset and sqrt. `c/skipw.h` says how to call it, `c/frames.txt` is the "
            "sequence of example.json.",
        ]
    return "\n\n".join(part for part in sections if part) + "\n"


def _summary(facts: Mapping[str, Any], weights: Weights) -> str:
    a = weights.architecture
    kind = KINDS.get(a.model, "Dense")
    size = sum(array.size for array in weights.arrays.values())
    what = f"{kind}, {a.num_layers} × {a.cell.upper()} of {a.hidden_size} units"
    window = f", window of {a.window} inputs" if a.window else ""
    reads = "words" if a.vocabulary_size else f"{a.input_size} raw numbers an input"
    classes = [str(name) for name in weights.description.get("classes") or []]
    answers = (
        "a number" if a.task == "regression" else f"scores of {a.num_outputs} classes ({', '.join(classes)})"
    )
    lines = [
        f"{what}{window}; {size:,} parameters. Reads {reads}, answers {answers}.",
        f"Trained on {facts['title'] or facts['dataset'] or 'unknown data'} (data source "
        f"`{facts['data_source'] or 'unknown'}`) as `{facts['experiment'] or 'unknown'}`. Pulled from "
        f"`{facts['uri']}`" + (f", run `{facts['run_id']}`." if facts["run_id"] else "."),
        f"**{facts['notice']}**" if facts["notice"] else "",
        _default(a, facts),
    ]
    return "\n\n".join(line for line in lines if line)


def _default(a: Architecture, facts: Mapping[str, Any]) -> str:
    point = facts["default_point"]
    if point is None:
        return sampling_text(facts) or "It has no operating points: every input is processed."
    text = f"Default operating point: {point_text(point['budget'], point['threshold'])}."
    if a.model == "skipw":
        which = f"any {a.window} consecutive" if a.bound == "any" else f"every {a.window}"
        return f"{text} At most `budget` of {which} inputs are processed, whatever comes."
    return text


def sampling_text(facts: Mapping[str, Any]) -> str:
    """What a sampling baseline does, "" for other models."""
    if not facts["sampling"]:
        return ""
    how = "at regular intervals" if facts["sampling"] == "periodic" else "at random"
    return (
        f"It is a sampling baseline: a share of {facts['rate']:.3g} of the inputs is processed, taken {how}, "
        "whatever they hold. `skipw stream` and `load_bundle(DIR).create_stream()` leave the others out; "
        "`skipw.StreamModel` and the graphs process all that they are given."
    )


def _table(a: Architecture, points: Sequence[MeasuredPoint]) -> list[str]:
    """The front's points, else all; the first metric only."""
    if not points:
        return ["No measured operating points came with this model."]
    metric = points[0].metric
    own = [point for point in points if point.metric == metric]
    shown = [point for point in own if point.pareto] or own
    which = "of the Pareto front" if shown[0].pareto else "measured"
    better = "higher" if metric == "accuracy" else "lower"
    lines = [
        f"| operating point | {metric}, test | inputs processed, test | alias |",
        "|---|---|---|---|",
        *(
            f"| {point_text(p.budget, p.threshold, p.val_inputs_processed)} | {value_text(metric, p.test)} "
            f"| {100 * p.test_inputs_processed:.1f} % | {', '.join(p.aliases)} |"
            for p in shown
        ),
    ]
    rest = f"The points {which} ({better} is better). Measured in all, see operating_points.csv: {len(own)}."
    return ["\n".join(lines), rest]


def point_text(budget: int | None, threshold: float | None, share: float = 1.0) -> str:
    """``budget 3, threshold 0.5``; without them the share of the inputs that was passed on."""
    parts = [] if budget is None else [f"budget {budget}"]
    parts += [] if threshold is None else [f"threshold {threshold:g}"]
    whole = "every input" if share >= 0.995 else f"a share of {share:.3g} of the inputs"
    return ", ".join(parts) or whole


def value_text(metric: str, value: float) -> str:
    """``91.20 %`` for an accuracy, else three digits."""
    return f"{100 * value:.2f} %" if metric == "accuracy" else f"{value:.3g}"


def _python(a: Architecture, facts: Mapping[str, Any]) -> str:
    point = facts["default_point"]
    opened = 'skipw.StreamModel.load(".").create_stream'
    imported = "import skipw"
    if facts["sampling"]:
        opened, imported = 'load_bundle(".").create_stream', "from skipw.runtime.bundle import load_bundle"
    made = ""
    if point is not None and a.model != "skiprnn":
        budget = "" if point["budget"] is None else f"budget={point['budget']}, "
        made = f"skipw.OperatingPoint({budget}threshold={point['threshold']:g})"
    what = "word" if a.vocabulary_size else "x"
    return f"""\
import json
{imported}

inputs = json.load(open("example.json"))["inputs"]   # yours: raw, an input at a time
stream = {opened}({made})
for {what} in inputs:
    if stream.needs_input:
        stream.process({what})
    else:
        stream.skip()      # {what} was not looked at
print(stream.output(), stream.usage)"""


def _c(a: Architecture) -> str:
    """Compiling the example program, and running it."""
    settings = f" {max(1, (a.window or 1) // 4)} 0.5" if a.model == "skipw" else ""
    return (
        "make -C c run                        # an x for each input processed, then the answer\n"
        f"cd c && ./example{settings} < frames.txt"
    )


def _switching(a: Architecture) -> str:
    if a.model == "skipw":
        return (
            "`stream.set_operating_point(skipw.OperatingPoint(budget=1))` moves the cost while it runs, also within "
            "a window; `stream.plan` lists the offsets that will be processed, so a device can sleep in between."
        )
    if a.model == "thrrnn":
        return (
            "`stream.set_operating_point(skipw.OperatingPoint(threshold=0.8))` moves the cost while it runs."
        )
    return ""


def _onnx(a: Architecture) -> str:
    text = (
        "A stream's memory is a set of named tensors: the output `next_NAME` of a graph is the input `NAME` of the "
        "next one. `start.onnx` makes it, `process.onnx` takes an input "
    )
    text += (
        "(`x`: the word's row of `embedding.weight` in model.safetensors; row 1 for unknown words)"
        if a.vocabulary_size
        else "(`x`: raw, in double precision; normalised inside)"
    )
    if a.model == "skipw":
        return (
            f"{text}, `gate.onnx` opens a window that follows a skipped input, and plans the rest of one after "
            "`budget` or `threshold` changed. `due` says which slots of the window are to be processed; a skipped "
            "input runs no graph, it adds 1 to `step`."
        )
    if a.model in DENSE:
        return f"{text}."
    return (
        f"{text}; an input is due once `accumulated` reaches the threshold. A skipped input runs no graph, it adds "
        "`increment` to `accumulated`, up to 1."
    )


def _block(text: str, language: str = "") -> str:
    return f"```{language}\n{text}\n```"
