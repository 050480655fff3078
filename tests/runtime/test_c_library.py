"""The C99 library of a board, compiled here: against traces of the reference, under sanitizers, and for Arm."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import skipw
from skipw import OperatingPoint, Schedule
from skipw.data.normaliser import Normaliser
from skipw.errors import BackendUnavailableError
from skipw.models.architecture import Architecture
from skipw.runtime.c import build
from skipw.runtime.c.quantisation import dequantise, quantise, rounded_weights
from skipw.runtime.c.source import write_c
from skipw.runtime.stream import StreamModel
from skipw.runtime.weights import Weights, of_module

CC = build.find_compiler()
STRICT = (
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wno-sign-conversion",
    "-Wno-psabi",
    "-Werror",
)
WATCHED = ("-O1", "-g1", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
BUILDS = {
    "sanitized": WATCHED,
    "plain": (*WATCHED, "-DSKIPW_PLAIN"),
    "optimised": ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    "no-double": (*WATCHED, "-DSKIPW_NO_DOUBLE"),
    "int8": (*WATCHED, "-DSKIPW_INT8"),
}
STEPS = 61
pytestmark = pytest.mark.skipif(CC is None, reason="there is no C compiler here")


@dataclass(frozen=True)
class Case:
    """A model, what it reads, and where it runs: pairs (input, point)."""

    kind: str
    cell: str = "gru"
    hidden: int = 9
    layers: int = 1
    window: int | None = 7
    width: int = 5
    switches: tuple[tuple[int, OperatingPoint], ...] = (
        (0, OperatingPoint(3, 0.3)),
        (17, OperatingPoint(5, 0.1)),
        (40, OperatingPoint(1, 0.0)),
    )
    settings: Mapping[str, Any] | None = None
    normaliser: str = "none"
    head: int | None = None


POINTS = ((0, OperatingPoint(threshold=0.4)), (23, OperatingPoint(threshold=0.8)))
CASES = {
    "skipw-gru": Case("skipw"),
    "skipw-lstm-2": Case("skipw", "lstm", layers=2, window=6),
    "skipw-60": Case("skipw", hidden=60, layers=2, window=8, width=36, normaliser="pose", head=60),
    "skipw-130": Case("skipw", "lstm", hidden=130, window=70, normaliser="standard", width=6, head=0),
    "skipw-first": Case("skipw", settings={"select": "first", "time_feature": "window"}, head=0),
    "skipw-last": Case(
        "skipw", settings={"select": "last", "time_feature": "since_update"}, normaliser="scale"
    ),
    "skipw-first-above": Case(
        "skipw", settings={"select": "first_above", "time_feature": "none", "initial_state": "zeros"}
    ),
    "skipw-window-1": Case("skipw", window=1, switches=((0, OperatingPoint(1, 0.5)),)),
    "skipw-nothing": Case("skipw", switches=((0, OperatingPoint(0, 0.0)),)),
    "skipw-seen": Case(
        "skipw", settings={"gate_inputs": ["since_update", "importance", "input"]}, normaliser="standard", width=6
    ),
    "skipw-seen-wide": Case(
        "skipw", "lstm", window=50, settings={"gate_inputs": ["importance"], "time_feature": "none"},
        switches=((0, OperatingPoint(20, 0.3)),),
    ),
    "skipw-windows": Case("skipw", window=6, settings={"gate_windows": 3, "gate_inputs": ["importance"]}),
    "skipw-windows-gates": Case("skipw", "lstm", window=50, settings={"gate_windows": 20, "gate_budgets": [2]}),
    "skipw-gates": Case("skipw", window=6, settings={"gate_budgets": [1, 3], "gate_inputs": ["importance"]}),
    "skipw-largest": Case(
        "skipw", window=6, settings={"largest_budget": 2, "gate_budgets": [1], "gate_inputs": ["budget"]}
    ),
    "skipw-largest-of-all": Case(
        "skipw", settings={"largest_budget": 2}, switches=((0, OperatingPoint(None, 0.1)), (17, OperatingPoint(7, 0.2)))
    ),
    "fastgrnn-2": Case("skipw", "fastgrnn", hidden=60, layers=2, window=8, head=16),
    "thrrnn-fastgrnn": Case("thrrnn", "fastgrnn", window=None, switches=POINTS),
    **{
        f"any-{select}": Case("skipw", window=6, settings={"bound": "any", "select": select})
        for select in ("topk", "first", "last", "first_above")
    },
    "any-window-1": Case("skipw", window=1, settings={"bound": "any"}, switches=((0, OperatingPoint(1, 0.5)),)),
    "thrrnn": Case("thrrnn", "lstm", window=None, switches=POINTS),
    "skiprnn": Case("skiprnn", layers=2, window=None, switches=((0, OperatingPoint()),)),
    "dense": Case("dense", window=None, switches=(), head=16),
}  # fmt: skip


def weights_of(case: Case) -> tuple[Any, Weights]:
    """A model with gates that open and close, and its weights with their normaliser."""
    torch.manual_seed(5)
    architecture = Architecture(
        case.kind, case.width, 3, "classification", case.cell, case.hidden, case.layers, case.window,
        head_hidden=case.head or 0, **(case.settings or {}),
    )  # fmt: skip
    model = architecture.build().eval()
    with torch.no_grad():
        if case.kind != "dense":
            model.rnn.gate.weight.normal_(0, 1.2)
            model.rnn.gate.bias.fill_(0.0 if case.kind == "skipw" else -0.6)
    description = {
        "normaliser": normaliser_of(case).to_json(),
        "classes": ['one "quoted"', "två\n", "th*/ree??/"],
    }
    if case.head is None:
        return model.rnn, of_module(model.rnn, description)
    return model, of_module(model, description)


def normaliser_of(case: Case) -> Normaliser:
    rng = np.random.default_rng(1)
    mean, scale = tuple(rng.normal(300, 50, case.width)), tuple(rng.uniform(20, 90, case.width))
    match case.normaliser:
        case "none":
            return Normaliser("none", case.width)
        case "pose":
            return Normaliser("pose", case.width, clip=3.0, missing=0.0)
        case "scale":
            return Normaliser("scale", case.width, mean, scale)
        case _:
            return Normaliser("standard", case.width, mean, scale, clip=1.5, missing=0.0)


def inputs_of(case: Case) -> np.ndarray:
    """Float32[T, D], raw; some joints are missing and one pose has no size."""
    rng = np.random.default_rng(2)
    if case.normaliser == "none":
        return rng.normal(size=(STEPS, case.width)).astype(np.float32)
    x = rng.uniform(100, 500, size=(STEPS, case.width)).astype(np.float32)
    if case.normaliser in ("pose", "standard"):
        x[::3, 2:4] = 0
        x[5] = 0
        x[6] = 250
    return x


def expected(case: Case, model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bool[T] and Float[T, outputs] of the reference backend."""
    x = torch.from_numpy(normaliser_of(case)(inputs_of(case)))[None]
    at = {} if case.kind == "dense" else {"at": Schedule(list(case.switches))}
    rnn = model if case.head is None else model.rnn
    with torch.no_grad():
        y = rnn(x, backend="reference", **at)
        output = y.output if case.head is None else model.head(y.output)
    return y.updates[0].numpy(), output[0].numpy()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[list[float]]]:
    """``run(weights, commands, build, prefix, compiler)``: compile the model's files with the driver and talk to it."""
    made: dict[tuple[str, ...], Path] = {}

    def objects(weights: Weights, compiler: tuple[str, ...], flags: tuple[str, ...]) -> tuple[Path, Path]:
        folder = tmp_path_factory.mktemp("model")
        write_c(weights, folder)
        if (*compiler, *flags) not in made:
            library = made[(*compiler, *flags)] = tmp_path_factory.mktemp("library")
            sources = [str(folder / name) for name in build.BOARD_SOURCES]
            subprocess.run([*compiler, *STRICT, *flags, "-c", *sources], cwd=library, check=True)
        return folder, made[(*compiler, *flags)]

    def answer(
        weights: Weights,
        commands: str,
        flags: tuple[str, ...],
        *,
        compiler: tuple[str, ...] = tuple(CC or ()),
        prefix: tuple[str, ...] = (),
        also: tuple[str, ...] = (),
    ) -> list[list[float]]:
        folder, library = objects(weights, compiler, flags)
        driver = str(Path(__file__).with_name("driver.c"))
        sources = [str(folder / "model.c"), driver, *map(str, sorted(library.glob("*.o")))]
        program = folder / "driver"
        command = [*compiler, *STRICT, *flags, f"-I{folder}", *sources, *also, "-lm", "-o", str(program)]
        subprocess.run(command, check=True)
        done = subprocess.run(
            [*prefix, str(program)], input=commands, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [[float(value) for value in line.split()] for line in done.stdout.splitlines()]

    return answer


def commands_of(case: Case) -> str:
    lines, switches = [], dict(case.switches) if case.kind != "dense" else {}
    for t, frame in enumerate(inputs_of(case)):
        if t in switches:
            point = switches[t]
            lines.append(f"p {-1 if point.budget is None else point.budget} {point.threshold}")
        lines.append("x " + " ".join(f"{value:.9g}" for value in frame))
    return "\n".join(lines)


def compare(
    case: Case, rows: list[list[float]], updates: np.ndarray, outputs: np.ndarray, tolerance: float
) -> None:
    switched = [row for row in rows if len(row) == 1]
    steps = [row for row in rows if len(row) > 1]
    assert all(row == [0.0] for row in switched) and len(steps) == STEPS
    np.testing.assert_array_equal([row[0] for row in steps], updates)
    np.testing.assert_allclose([row[2:] for row in steps], outputs, rtol=0, atol=tolerance)
    if case.kind == "skipw":
        for t, row in enumerate(steps):
            end = (t // case.window + 1) * case.window
            later = [start for start, _ in case.switches if t < start < end]
            if not later and end <= STEPS:
                assert row[1] == updates[t:end].sum(), f"the plan at input {t}"


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("built", ["sanitized", "optimised"])
def test_equal_to_the_reference_step_by_step(name: str, built: str, run: Any) -> None:
    case = CASES[name]
    model, weights = weights_of(case)
    rows = run(weights, commands_of(case), BUILDS[built])
    compare(case, rows, *expected(case, model), tolerance=1e-5)


@pytest.mark.parametrize("name", ["skipw-60", "skipw-130", "thrrnn"])
@pytest.mark.parametrize(("built", "tolerance"), [("plain", 1e-5), ("no-double", 5e-5)])
def test_without_vectors_and_without_doubles(name: str, built: str, tolerance: float, run: Any) -> None:
    case = CASES[name]
    model, weights = weights_of(case)
    compare(case, run(weights, commands_of(case), BUILDS[built]), *expected(case, model), tolerance=tolerance)


@pytest.mark.parametrize("name", ["skipw-60", "skipw-lstm-2", "skipw-seen", "fastgrnn-2", "thrrnn", "dense"])
def test_int8_computes_with_the_rounded_weights(name: str, run: Any) -> None:
    case = CASES[name]
    _, weights = weights_of(case)
    stream = StreamModel(rounded_weights(weights), "numpy").create_stream()
    switches = dict(case.switches)
    updates, outputs = [], []
    for t, frame in enumerate(inputs_of(case)):
        if t in switches:
            stream.set_operating_point(switches[t])
        updates.append(stream.needs_input)
        if updates[-1]:
            stream.process(frame)
        else:
            stream.skip()
        outputs.append(stream.output())
    compare(case, run(weights, commands_of(case), BUILDS["int8"]), np.array(updates), np.array(outputs), 1e-5)


def test_rounding_moves_no_weight_by_more_than_half_a_step() -> None:
    matrix = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    matrix[3] = 0
    values, scale = quantise(matrix)
    assert values.dtype == np.int8 and abs(values.astype(int)).max() == 127
    assert (np.abs(dequantise(values, scale) - matrix) <= scale[:, np.newaxis] * 0.5001).all()
    assert not dequantise(values, scale)[3].any()


def test_impossible_points_are_refused(run: Any) -> None:
    for name, bad in (("skipw-gru", ("8 0.5", "3 1.5", "3 -0.1", "3 nan")), ("thrrnn", ("1 0.5",)),
                      ("skiprnn", ("-1 0.4", "1 0.5")), ("dense", ("-1 0.5",))):  # fmt: skip
        _, weights = weights_of(CASES[name])
        rows = run(weights, "\n".join(f"p {point}" for point in bad), BUILDS["sanitized"])
        assert rows == [[-3.0]] * len(bad), name


@pytest.mark.slow
def test_a_hundred_million_inputs(run: Any) -> None:
    """At constant memory (the library never allocates) and with a skipped input below 1 % of a processed one."""
    case = Case("skipw", hidden=60, layers=2, window=8, width=36)
    _, weights = weights_of(case)
    (_, skipped, _, processed) = run(
        weights, "p 0 0\nn 100000000\np 8 0\nn 20000", BUILDS["optimised"]
    )  # fmt: skip
    assert skipped[:3] == [1e8, 0, 0]
    assert processed[:3] == [1e8 + 20000, 20000, 8]
    assert skipped[3] < 0.01 * processed[3] + 0.2e-9, (
        f"{skipped[3] * 1e9:.2f} ns, {processed[3] * 1e9:.1f} ns"
    )


def test_nothing_but_memory_functions_and_mathematics_is_called(tmp_path: Path) -> None:
    if shutil.which("nm") is None:
        pytest.skip("nm is not installed")
    _, weights = weights_of(CASES["skipw-60"])
    write_c(weights, tmp_path)
    subprocess.run(
        [*(CC or ()), "-std=c99", "-O2", "-ffreestanding", "-fno-stack-protector", "-c",
         *build.BOARD_SOURCES, "model.c"], cwd=tmp_path, check=True,
    )  # fmt: skip
    names = subprocess.run(
        ["nm", "-u", *sorted(map(str, tmp_path.glob("*.o")))], check=True, capture_output=True, text=True
    )
    called = {line.split()[-1] for line in names.stdout.splitlines() if " U " in line}
    assert {name for name in called if not name.startswith(("skipw_", "_GLOBAL_OFFSET"))} <= {
        "memcpy",
        "memset",
        "sqrt",
    }


@pytest.mark.parametrize(
    ("settings", "message"), [({"select": "random"}, "draws random numbers"), ({}, "float64")]
)
def test_what_a_board_cannot_do_is_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    rnn = skipw.SkipW("gru", 3, 4, window=5, **settings)
    with pytest.raises(BackendUnavailableError, match=message):
        write_c(of_module(rnn if settings else rnn.double()), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "point", "end"),
    [
        ("skipw-60", OperatingPoint(2, 0.1), ", at most 2 in a window of 8"),
        ("thrrnn", OperatingPoint(threshold=0.9), ""),
    ],
)
def test_the_example_program_reads_a_stream_of_frames(
    name: str, point: OperatingPoint, end: str, tmp_path: Path
) -> None:
    """At the point that it was written for."""
    case = CASES[name]
    _, weights = weights_of(case)
    write_c(weights, tmp_path, frames=inputs_of(case), point=point)
    said = subprocess.run(["make", "-s", "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0 and not said.stderr, said.stderr
    stream = StreamModel(weights).create_stream(point)
    for frame in inputs_of(case):
        if stream.needs_input:
            stream.process(frame)
        else:
            stream.skip()
    usage = stream.usage
    lines = said.stdout.splitlines()
    assert lines[0].replace(" ", "").count("x") == usage.processed
    np.testing.assert_allclose([float(value) for value in lines[1].split()[1:]], stream.output(), atol=1e-4)
    assert lines[-1] == f"processed {usage.processed} of {usage.inputs}{end}"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example program of a model that reads 5 numbers an input, K = 3 of L = 7, compiled strictly."""
    folder = tmp_path_factory.mktemp("example")
    write_c(weights_of(CASES["skipw-gru"])[1], folder, point=OperatingPoint(3, 0.3))
    sources = ["example.c", "model.c", *build.BOARD_SOURCES]
    command = [*(CC or ()), *STRICT, *WATCHED, *sources, "-lm", "-o", "example"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "example"


def ask(program: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], input=text, capture_output=True, text=True, check=False)


LINE = "0.1 0.2 -0.3 4e-1 .5\n"


@pytest.mark.parametrize(
    "words", [("x",), ("",), ("2.5", ".5"), ("2x",), ("8",), ("-2",), ("99999999999999999999",), ("2", ""),
              ("2", ".5x"), ("2", "1.5"), ("2", "-0.1"), ("2", "nan"), ("2", ".5", "1")], ids=" ".join,
)  # fmt: skip
def test_the_example_program_refuses_what_is_no_point(words: tuple[str, ...], example: Path) -> None:
    said = ask(example, 9 * LINE, *words)
    assert said.returncode == 1 and not said.stdout
    assert said.stderr == "expected [BUDGET [THRESHOLD]]: a whole number from -1 to 7, and one from 0 to 1\n"


@pytest.mark.parametrize("words", [("-1",), ("7", "1"), ("0", "0.0"), ("2", ".5")], ids=" ".join)
def test_the_example_program_takes_points_and_lines_of_any_spacing(
    words: tuple[str, ...], example: Path
) -> None:
    said = ask(example, f"\n{4 * LINE}\r\n\t 1  2\t3 4 5 \r\n \n{3 * LINE}{LINE.strip()}", *words)
    assert said.returncode == 0 and not said.stderr
    assert said.stdout.splitlines()[-1].split(",")[0].endswith(" of 9")


@pytest.mark.parametrize("budget", ["0", "7"], ids=["skipped", "processed"])
@pytest.mark.parametrize("line", ["1 2 3", "1 2 3\n", "1 2 3 4 5 6\n", "1,2,3,4,5\n"])
@pytest.mark.parametrize("before", [0, 8])
def test_the_example_program_refuses_lines_of_other_lengths(
    budget: str, line: str, before: int, example: Path
) -> None:
    """Where they are skipped too; each of them is an input of its own, never completed by the next."""
    said = ask(example, before * LINE + line, budget, "0")
    assert said.returncode == 1 and "class" not in said.stdout and "processed" not in said.stdout
    assert said.stderr == f"input {before}: expected a line of 5 numbers with spaces between\n"


def test_the_example_program_reads_numbers_only_where_it_processes(example: Path) -> None:
    words = "a b c d e\n"
    assert ask(example, words, "0").returncode == 0
    for text in (words, "1 2 3 4 5x\n", "1 2 3 4-5\n", "1.2.3 2 3 4\n", "", "\n"):
        said = ask(example, text, "7", "0")
        assert said.returncode == 1 and said.stderr.startswith("input 0: expected a line of 5 numbers"), text
    assert "error -2 at input 0" in ask(example, "1 2 3 4 nan\n", "7", "0").stderr


def test_the_example_program_of_words_refuses_what_is_no_point(tmp_path: Path) -> None:
    torch.manual_seed(5)
    reads = {"vocabulary_size": 4, "embedding_size": 6}
    model = Architecture("skipw", 6, 2, "classification", hidden_size=5, window=4, **reads).build().eval()
    write_c(of_module(model, {"vocabulary": ["<pad>", "<unk>", "a", "film"]}), tmp_path)
    subprocess.run(
        [*(CC or ()), *STRICT, *WATCHED, "example.c", "model.c", *build.BOARD_SOURCES, "-lm", "-o", "example"],
        cwd=tmp_path, check=True,
    )  # fmt: skip

    def said(text: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./example", *words], cwd=tmp_path, input=text, capture_output=True, text=True, check=False
        )

    assert said("a fine film .", "2", "0").stdout.endswith("processed 2 of 4, at most 2 in a window of 4\n")
    for words in (("x",), ("2.5", ".5"), ("5",), ("2", "2"), ("2", ".5", "1")):
        refused = said("a film", *words)
        assert refused.returncode == 1 and not refused.stdout
        assert refused.stderr.startswith("expected [BUDGET [THRESHOLD]]: a whole number from -1 to 4")
    assert said("\n").returncode == 1 and "expected words" in said("\n").stderr


def test_the_makefile_says_what_it_runs_on(tmp_path: Path) -> None:
    write_c(weights_of(CASES["dense"])[1], tmp_path)
    said = subprocess.run(["make", "-s", "run"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "frames.txt is not here: write inputs into it" in said.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-DSKIPW_NO_DOUBLE", "-DSKIPW_PLAIN")])
@pytest.mark.parametrize("name", ["skipw-60", "skipw-130", "skipw-seen", "fastgrnn-2", "any-topk", "thrrnn"])
def test_on_64_bit_arm(name: str, flags: tuple[str, ...], run: Any) -> None:
    compiler, machine = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
    if compiler is None or machine is None:
        pytest.skip("Debian's gcc-aarch64-linux-gnu and qemu-user are not installed")
    case = CASES[name]
    model, weights = weights_of(case)
    rows = run(
        weights, commands_of(case), ("-O3", "-static", *flags), compiler=(compiler,), prefix=(machine,)
    )  # fmt: skip
    compare(case, rows, *expected(case, model), tolerance=5e-5 if flags else 1e-5)


CORTEX_M4 = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
BOARD = Path(__file__).with_name("cortex_m")


@pytest.mark.slow
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", ["skipw-60", "skipw-seen", "fastgrnn-2", "thrrnn"])
def test_on_a_microcontroller(name: str, int8: bool, run: Any) -> None:
    """Bare metal: Arm's MPS2 board with a Cortex-M4, in QEMU; input and output through the debugger's channel."""
    compiler, machine = shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")
    if compiler is None or machine is None:
        pytest.skip(
            "Debian's gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm are not installed"
        )
    case = CASES[name]
    model, weights = weights_of(case)
    found = subprocess.run(
        [compiler, *CORTEX_M4, "-print-file-name=rdimon-crt0.o"], capture_output=True, text=True, check=True
    )
    linked = ("--specs=rdimon.specs", "-nostartfiles", f"-T{BOARD / 'board.ld'}", str(BOARD / "startup.c"))
    rows = run(
        weights,
        commands_of(case),
        (*CORTEX_M4, "-O2", "-DSKIPW_NO_DOUBLE", *(["-DSKIPW_INT8"] if int8 else [])),
        compiler=(compiler,),
        prefix=(
            *(machine, "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native", "-kernel"),
        ),
        also=(*linked, found.stdout.strip()),
    )
    if int8:
        model.load_state_dict(
            {
                name.removeprefix("" if case.head is not None else "rnn."): torch.tensor(array)
                for name, array in rounded_weights(weights).arrays.items()
            }
        )
    compare(case, rows, *expected(case, model), tolerance=5e-5)
