"""docs/pretrained.md, "The walk": runs each command on the shipped models, and writes down what it said.

    python tests/house/box_walk.py      (after `ship.py`, in a clone of its own: it removes mlruns/ and deploy/)

The example files (a generated Adding sequence, a drawn 7, a sentence, a simulated person) lie in a temporary folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from skipw.data.tokeniser import tokenise
from skipw.models.saved import load_description
from skipw.tracking.examples import input_example

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "pretrained.md"
TITLES = {"adding": "Adding", "mnist": "MNIST", "imdb": "IMDB", "har": "HAR"}
SENTENCE = (
    "A wonderful, moving film. The acting is superb and I loved every minute of it, highly recommended!"
)
START = "```console\n$ make pretrained\n"


def said(*command: str, show: str | None = None, last: int | None = None) -> str:
    """A command and its output, as a console shows them."""
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "COLUMNS": "100"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=True,
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
    return "\n".join([f"$ {show or ' '.join(command)}", *(lines[-last:] if last else lines)])


def registered() -> str:
    """`make pretrained` without the set-up."""
    text = said(sys.executable, "pipelines/pretrained.py", show="make pretrained")
    text = re.sub(r"registered \(\d+ s\)", "registered", text)
    kept = [line for line in text.splitlines() if re.match(r"\$|skipw-| |registered", line)]
    return "\n".join(kept)


def shortened(text: str) -> str:
    """A front with its first and last rows, and the beginning of the link."""
    lines = [re.sub(r"(compare-runs\?runs=%5B%22.{24}).*", r"\1...", line) for line in text.splitlines()]
    rows = [place for place, line in enumerate(lines) if line.startswith("│")]
    return "\n".join([*lines[: rows[3]], "│ ...", *lines[rows[-3] :]]) if len(rows) > 7 else "\n".join(lines)


def write_examples(dataset: str, folder: Path) -> tuple[str, str]:
    """The files that `stream` and `predict` read, and the request; returns the names of the first two."""
    description = load_description(next((ROOT / "pretrained" / dataset).glob("*/model.json")).parent)
    if dataset == "imdb":
        (folder / "example-imdb.txt").write_text(SENTENCE + "\n")
        (folder / "example-imdb.words").write_text("\n".join(tokenise(SENTENCE)) + "\n")
        request(dataset, SENTENCE, folder)
        return "example-imdb.words", "example-imdb.txt"
    frames = input_example(description, 1)["sequence"][0]
    (folder / f"example-{dataset}.csv").write_text(
        "".join(",".join(f"{x:g}" for x in frame) + "\n" for frame in frames)
    )
    request(dataset, frames, folder)
    return f"example-{dataset}.csv", f"example-{dataset}.csv"


def request(dataset: str, sequence: object, folder: Path) -> None:
    content = {"dataframe_records": [{"sequence": sequence}]}
    (folder / f"request-{dataset}.json").write_text(json.dumps(content))


def served(dataset: str, folder: Path) -> str:
    """Start the server, ask it once, stop it."""
    command, quiet = ["skipw", "serve", f"models:/skipw-{dataset}@knee"], subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen("http://127.0.0.1:5001/ready"):
                    break
            except OSError:
                time.sleep(0.5)
        address = "http://127.0.0.1:5001/invocations"
        options = ["-H", "Content-Type: application/json", "-d"]
        return said(
            "curl", "-s", address, *options, f"@{folder}/request-{dataset}.json",
            show=f"curl -s {address} -H 'Content-Type: application/json' -d @request-{dataset}.json",
        )  # fmt: skip
    finally:
        process.terminate()
        process.wait()


def section(dataset: str, folder: Path) -> Iterator[str]:
    """What is said of one data set."""
    words, whole = write_examples(dataset, folder)
    model, deployed = f"models:/skipw-{dataset}@knee", f"deploy/{dataset}"
    yield shortened(said("skipw", "front", dataset))
    yield said("skipw", "pull", model, deployed)
    if dataset == "imdb":
        head = "\n".join((folder / words).read_text().splitlines()[:4])
        yield f"$ head -n 4 {words}      # the sentence, split by skipw.data.tokeniser.tokenise\n{head}"
    streamed = f"skipw stream {deployed} {words} | tail -n 4"
    yield said("skipw", "stream", deployed, str(folder / words), show=streamed, last=4)
    yield said("skipw", "predict", model, str(folder / whole), show=f"skipw predict {model} {whole}")
    yield f"$ skipw serve {model} &"
    yield served(dataset, folder)


def main() -> None:
    for place in ("mlruns", "deploy"):
        shutil.rmtree(ROOT / place, ignore_errors=True)
    subprocess.run(["git", "checkout", "--quiet", "mlruns"], cwd=ROOT, check=True)
    page = PAGE.read_text(encoding="utf-8")
    parts = [page[: page.index(START)] + f"```console\n{registered()}\n\n{registered()}\n```\n"]
    with tempfile.TemporaryDirectory() as folder:
        for dataset, title in TITLES.items():
            text = "\n\n".join(section(dataset, Path(folder)))
            parts.append(f"\n### {title}\n\n```console\n{text}\n```\n")
    PAGE.write_text("".join(parts), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
