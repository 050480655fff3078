"""``make bench``: tests of the backends first, then all measurements, the table, the JSON file and the plot.

python benchmarks/run.py [--quick] [--workload NAME ...] [--backends NAME ...] [--parts PART ...]
python benchmarks/run.py --table benchmarks/results/FILE.json                        # Markdown
python benchmarks/run.py --table benchmarks/results/FILE.json --into docs/speed.md   # between its two marks
python benchmarks/run.py --plot benchmarks/results/FILE.json
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from rich.console import Console  # noqa: E402

from skipw.benchmark.plot import draw_costs  # noqa: E402
from skipw.benchmark.report import file_name, read_results, write_results  # noqa: E402
from skipw.benchmark.suite import PARTS, Plan, run_suite  # noqa: E402
from skipw.benchmark.table import markdown, terminal  # noqa: E402
from skipw.benchmark.workloads import WORKLOADS  # noqa: E402
from skipw.errors import DataFormatError, SkipWError  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def main(words: list[str] | None = None) -> int:
    """Run what the command line asks for; 0 on success."""
    options = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    console = Console()
    try:
        if options.table or options.plot:
            return _show(options)
        plan = Plan.make(
            quick=options.quick, backends=options.backends, workloads=options.workload, parts=options.parts
        )
        if not _tests_pass(console):
            return 1
        return _measure(plan, options, console)
    except SkipWError as error:
        console.print(f"benchmarks: {error}", style="red", markup=False)
        return 1


def _parser() -> argparse.ArgumentParser:
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(description="Speed and memory against dense torch.nn layers.")
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer rounds, shares and parts")
    parser.add_argument("--workload", nargs="+", choices=names, default=[], help="only the speed of these")
    parser.add_argument(
        "--backends", nargs="+", default=[], help="competitors; targets are judged on the first"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[], help="all by default")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON file and the plot")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of the pipeline's outputs")
    parser.add_argument("--table", type=Path, help="print a JSON file's tables as Markdown, measure nothing")
    parser.add_argument(
        "--into", type=Path, help="with --table: put them and the plot between the marks of this page"
    )
    parser.add_argument("--plot", type=Path, help="draw a JSON file's plot beside it, measure nothing")
    return parser


def _show(options: argparse.Namespace) -> int:
    if options.plot:
        draw_costs(read_results(options.plot), options.plot.with_suffix(".png"))
    if options.table:
        text = markdown(read_results(options.table))
        if options.into:
            _put_into(options.into, text, options.table.with_suffix(".png"))
        else:
            sys.stdout.write(text)
    return 0


def _put_into(page: Path, text: str, plot: Path) -> None:
    """Replace what stands between the page's marks by the plot, if there is one, and the tables."""
    content = page.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1 or content.index(BEGIN) > content.index(END):
        raise DataFormatError(f"{page} needs one line {BEGIN} and, below it, one line {END}; add them.")
    before, after = content.split(BEGIN)[0], content.split(END)[1]
    if plot.is_file():
        link = os.path.relpath(plot, page.parent).replace(os.sep, "/")
        text = f"![Cost against inputs processed]({link})\n\n{text}"
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _tests_pass(console: Console) -> bool:
    """Run the tests that hold the backends against the reference; say so where one fails."""
    runs = [["tests/core", "-k", "backends"]]
    if (ROOT / "tests" / "native").is_dir():
        runs.append(["tests/native"])
    for words in runs:
        console.print(f"tests first: {' '.join(words)}", markup=False)
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *words]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            console.print(
                f"A test of {words[0]} failed, so nothing was measured: a fast wrong answer is worth nothing. "
                "Repair it, then run `make bench` again.",
                style="red",
            )
            return False
    return True


def _measure(plan: Plan, options: argparse.Namespace, console: Console) -> int:
    with console.status("measuring ...") as status:

        def say(what: str) -> None:
            status.update(what)
            if not console.is_terminal:
                console.print(what, markup=False)

        results = run_suite(plan, data=options.data, say=say)
    for table in terminal(results):
        console.print(table)
    path = options.results / file_name(results)
    write_results(results, path)
    console.print(f"written: {path.name}", markup=False, highlight=False)
    if results.speed:
        try:
            draw_costs(results, path.with_suffix(".png"))
        except ModuleNotFoundError as error:
            console.print(f"no plot: {error}; pip install 'skipw[pipeline]'", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
