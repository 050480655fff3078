"""This model in ONNX Runtime, and nothing else around it: the loop to build into a program of your own.

Needs onnxruntime and numpy. `python onnx/run.py` runs ../example.json and says how far its answers are from that.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent


class Loop:
    def __init__(self, budget: int | None = None, threshold: float = 0.5) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # a step is too small for more
        self.graphs = {path.stem: ort.InferenceSession(str(path), options) for path in HERE.glob("*.onnx")}
        facts = self.graphs["start"].get_modelmeta().custom_metadata_map
        self.window, self.select = int(facts["window"] or 0), facts["select"]
        self.random = np.random.default_rng(0)
        self.memory: dict[str, Any] = {"step": np.array(0), "accumulated": None}
        self.before = np.zeros(self.window, np.float32)  # the importance of the window before
        self.point: Any = None
        self.set_point(budget, threshold)
        self.run("start", opens=True)

    def set_point(self, budget: int | None = None, threshold: float = 0.5) -> None:
        # K and thr; holds from the next input on
        if (budget, threshold) == self.point:
            return
        self.point, budget = (budget, threshold), self.window if budget is None else budget
        self.memory |= {"budget": np.array(budget), "threshold": np.array(threshold, np.float32)}
        if "due" in self.memory:
            if self.memory["step"] % self.window == 0:
                self.memory["importance"] = self.before  # the window opens anew
            self.run("gate")  # plans the rest of the window anew

    def run(self, name: str, opens: bool = False) -> None:
        if opens and self.select in ("sample", "random"):
            noise = self.random.random(self.window, dtype=np.float32)
            tiny = np.finfo(np.float32).tiny
            gumbel = -np.log(np.maximum(-np.log(np.maximum(noise, tiny)), tiny))
            self.memory["noise"] = gumbel if self.select == "sample" else noise
        if opens and "importance" in self.memory:
            self.before = self.memory["importance"]
        graph = self.graphs[name]
        results = graph.run(None, {one.name: np.asarray(self.memory[one.name]) for one in graph.get_inputs()})
        for one, value in zip(graph.get_outputs(), results):  # noqa: B905 - runs on any Python 3
            self.memory[one.name.removeprefix("next_")] = value

    def needs_input(self) -> bool:
        if self.window:
            return bool(self.memory["due"][self.memory["step"] % self.window])
        accumulated = self.memory["accumulated"]  # ThrRNN, SkipRNN; a dense model reads every input
        return accumulated is None or bool(accumulated >= self.memory["threshold"])

    def process(self, x: Any) -> None:  # raw numbers; for words their row of the embedding
        self.memory["x"] = x
        self.run("process", opens=bool(self.window) and (self.memory["step"] + 1) % self.window == 0)

    def skip(self) -> None:  # x was never looked at
        if self.window:
            self.memory["step"] = self.memory["step"] + 1
            if self.memory["step"] % self.window == 0:
                self.run("gate", opens=True)
        else:
            waited = self.memory["accumulated"] + self.memory["increment"]
            self.memory["accumulated"] = np.minimum(waited, np.float32(1))


def reader() -> Callable[[Any], Any]:
    """What turns an input of example.json into x."""
    model = json.loads((HERE.parent / "model.json").read_text(encoding="utf-8"))
    if not model["architecture"]["vocabulary_size"]:
        return lambda raw: np.asarray(raw, dtype=np.float64)
    rows = {word: row for row, word in enumerate(model.get("vocabulary") or [])}
    path = HERE.parent / "model.safetensors"
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(size))["embedding.weight"]
    start = 8 + size + entry["data_offsets"][0]
    table = np.memmap(path, np.float32, "r", start, tuple(entry["shape"]))
    return lambda word: np.array(table[rows.get(word, 1) if isinstance(word, str) else word])


def main() -> int:
    example, read = json.loads((HERE.parent / "example.json").read_text(encoding="utf-8")), reader()
    deviation, differing = 0.0, 0
    for run in example["runs"]:
        switches = {one["start"]: (one["budget"], one["threshold"]) for one in run["points"]}
        loop = Loop(*switches.pop(0, ()))
        for t, raw in enumerate(example["inputs"]):
            if t in switches:
                loop.set_point(*switches[t])
            due = loop.needs_input()
            loop.process(read(raw)) if due else loop.skip()
            differing += due != run["updates"][t]
            deviation = max(deviation, float(np.abs(loop.memory["scores"] - run["outputs"][t]).max()))
    sys.stdout.write(f"{differing} inputs decided otherwise, largest deviation {deviation:.1e}\n")
    return int(differing > 0 or deviation > example["tolerance"])


if __name__ == "__main__":
    sys.exit(main())
