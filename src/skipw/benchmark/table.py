"""Results as tables: for the terminal, and as Markdown for docs/speed.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skipw.benchmark.records import PHASES, Results, SpeedRecord
from skipw.benchmark.timing import Spread
from skipw.benchmark.workloads import WORKLOADS

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Section", "markdown", "sections", "terminal"]

MODELS = {"skipw": "SkipW", "thrrnn": "ThrRNN", "skiprnn": "SkipRNN"}
CELLS = {"met": "green", "missed": "red"}


@dataclass(frozen=True)
class Section:
    """A table of texts. The first ``texts`` columns are set left, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    texts: int = 1


def sections(results: Results) -> list[Section]:
    """All tables that the results have something for, the targets last."""
    found = [_machine(results)]
    for phase in PHASES:
        if any(record.phase == phase for record in results.speed):
            found.append(_speed_ups(results, phase))
    if results.speed:
        found.append(_above_peak(results))
    found += [*_scaling(results), *_loop(results), *_grid(results), *_memory(results), *_targets(results)]
    return found


def terminal(results: Results) -> Iterator[RenderableType]:
    """The tables for rich."""
    from rich.markup import escape
    from rich.table import Table

    for section in sections(results):
        table = Table(
            title=section.title,
            title_justify="left",
            caption=section.note or None,
            caption_justify="left",
            show_header=any(section.columns),
        )
        for i, name in enumerate(section.columns):
            table.add_column(name, justify="left" if i < section.texts else "right", overflow="fold")
        for row in section.rows:
            table.add_row(*(f"[{CELLS[cell]}]{cell}[/]" if cell in CELLS else escape(cell) for cell in row))
        yield table
    yield from results.notes


def markdown(results: Results) -> str:
    """The tables as Markdown."""
    parts = []
    for section in sections(results):
        marks = ["---" if i < section.texts else "---:" for i in range(len(section.columns))]
        lines = [section.columns, tuple(marks), *section.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts.append(f"**{section.title}**\n\n{table}\n" + (f"\n{section.note}\n" if section.note else ""))
    parts += [f"{note[:1].upper()}{note[1:]}.\n" for note in results.notes]
    return "\n".join(parts)


def _machine(results: Results) -> Section:
    machine, versions = results.machine, results.versions
    caches = ", ".join(f"{name} {_size(size)}" for name, size in machine["caches_kib"].items())
    peak = results.peak
    rows = (
        ("processor", f"{machine['cpu']}, {machine['cores']} cores, {machine['vector_units']}"),
        ("caches of a core", caches or "unknown"),
        ("product peak, one thread", f"{peak['gflops']:.0f} GFLOP/s ({peak['shape'].replace('x', ' × ')})"),
        ("versions", f"Python {versions['python']}, torch {versions['torch']}, skipw {versions['skipw']}"),
        ("native backend", versions["native"]),
        *([("C library and its allocator", machine["allocator"])] if "allocator" in machine else []),
        ("run", f"{results.mode}, {results.date}, load before it {machine['load_before']}"),
    )
    return Section("Measured on", ("", ""), rows, texts=2)


def _size(kib: int) -> str:
    return f"{kib / 1024:g} MiB" if kib >= 1024 else f"{kib} KiB"


def _groups(results: Results, phase: str) -> dict[tuple[str, str, str], dict[float, SpeedRecord]]:
    """The records of a phase by (workload, model, backend) and share, in the order in which they came."""
    groups: dict[tuple[str, str, str], dict[float, SpeedRecord]] = {}
    for record in results.speed:
        if record.phase == phase:
            key = (record.workload, record.model, record.backend)
            groups.setdefault(key, {})[record.wanted_share] = record
    return groups


def _shares(results: Results) -> list[float]:
    return sorted({record.wanted_share for record in results.speed if record.model != "dense"}, reverse=True)


def _label(key: tuple[str, str, str]) -> tuple[str, str, str]:
    titles = {workload.name: workload.title for workload in WORKLOADS}
    return titles.get(key[0], key[0]), MODELS.get(key[1], key[1]), key[2]


def _speed_ups(results: Results, phase: str) -> Section:
    groups, shares = _groups(results, phase), _shares(results)
    rows = []
    for key, records in groups.items():
        if key[1] == "dense":
            continue
        dense = groups[key[0], "dense", "torch"][1.0]
        cells = [_times(records.get(share)) for share in shares]
        rows.append((*_label(key), f"{dense.milliseconds.median:.1f}", *cells))
    what = "Training step" if phase == "training" else "Inference"
    return Section(
        f"{what}: times as fast as the dense torch.nn layer, by the share of inputs processed",
        ("workload", "model", "backend", "dense, ms", *(f"{share:.0%}" for share in shares)),
        tuple(rows),
        "Median of the ratios round by round; quartiles in brackets. 2 × is half the time.",
        texts=3,
    )


def _times(record: SpeedRecord | None) -> str:
    if record is None:
        return ""
    time = record.relative_time
    return _spread(Spread(1 / time.median, 1 / time.upper, 1 / time.lower))


def _spread(spread: Spread) -> str:
    return f"{_short(spread.median)} × [{_short(spread.lower)}–{_short(spread.upper)}]"


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _above_peak(results: Results) -> Section:
    shares = _shares(results)
    rows = []
    for phase in PHASES:
        for key, records in _groups(results, phase).items():
            cells = [f"{records[share].above_peak:.1f}" if share in records else "" for share in shares]
            rows.append((phase, *_label(key), *cells))
    return Section(
        "Time over the time that the products of the processed inputs take at the product peak",
        ("phase", "workload", "model", "backend", *(f"{share:.0%}" for share in shares)),
        tuple(rows),
        "1.0 computes every product as fast as PyTorch its largest ones, and nothing else.",
        texts=4,
    )


def _scaling(results: Results) -> list[Section]:
    rows = tuple(
        (*_label((r.workload, r.model, r.backend)), f"{r.share:.0%}", _spread(r.speed_up))
        for r in results.scaling
    )
    columns = ("workload", "model", "backend", "share", "two threads against one")
    return [Section("Training step on two cores", columns, rows, texts=3)] if rows else []


def _loop(results: Results) -> list[Section]:
    if not results.loop:
        return []
    shares = sorted({r.wanted_share for r in results.loop if r.model != "dense"}, reverse=True)
    found = {(r.workload, r.model, r.backend, r.phase, r.wanted_share): r for r in results.loop}
    threads = {(r.workload, r.model, r.backend): r for r in results.loop_scaling if r.model != "dense"}
    rows = tuple(
        (
            *_label(key),
            *(_times(found.get((*key, phase, share))) for phase in PHASES for share in shares),
            _spread(threads[key].speed_up) if key in threads else "",
        )
        for key in dict.fromkeys((r.workload, r.model, r.backend) for r in results.loop if r.model != "dense")
    )
    share = next((f", {r.share:.0%}" for r in threads.values()), "")
    columns = (
        "workload",
        "model",
        "backend",
        *(f"{phase}, {share:.0%}" for phase in PHASES for share in shares),
        f"two threads against one{share}",
    )
    note = "As above, but everybody runs several times in a row and the last run is timed."
    return [Section("In a loop: times as fast as the dense torch.nn layer", columns, rows, note, texts=3)]


def _grid(results: Results) -> list[Section]:
    rows = tuple(
        (
            r.inputs,
            f"{r.share:.0%}",
            str(r.budgets),
            f"{r.dense_passes.median:.2f}",
            f"{r.one_by_one:.2f}",
            f"{r.same_choices:.2%}",
            f"{r.largest_difference:.1g}",
        )
        for r in results.grid
    )
    columns = (
        "inputs and weights",
        "share",
        "budgets",
        "dense passes",
        "one by one",
        "same choices",
        "largest difference",
    )
    note = "Time of the whole grid of budgets over one dense forward pass; answers against a run for each budget."
    return [Section("Grid of all budgets at threshold 0.5 (sMNIST)", columns, rows, note)] if rows else []


def _memory(results: Results) -> list[Section]:
    rows = tuple(
        (
            r.backend,
            f"{r.steps:,}",
            f"{r.share:.1%}",
            f"{r.processed:.0f}",
            f"{r.growth_mib:.0f}",
            f"{r.peak_mib:.0f}",
        )
        for r in results.memory
    )
    columns = ("backend", "T", "share", "processed a row", "step, MiB", "whole process, MiB")
    note = "GRU 128, batch 64, D = 1, last output only; each in a process of its own."
    return [Section("Peak memory of a training step", columns, rows, note)] if rows else []


def _targets(results: Results) -> list[Section]:
    rows = tuple(
        (
            target.name,
            f"{target.kind} {target.wanted:,.4g} {target.unit}",
            f"{target.got:,.3g}" if target.got < 1000 else f"{target.got:,.0f}",
            "met" if target.met else "missed",
        )
        for target in results.targets
    )
    if not rows:
        return []
    met = sum(target.met for target in results.targets)
    return [Section(f"Targets: {met} of {len(rows)} met", ("what", "wanted", "measured", ""), rows)]
