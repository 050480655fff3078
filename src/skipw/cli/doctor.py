"""``skipw doctor``: what is here and what answers."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import skipw
from skipw.cli.app import DATASETS, Data, app

PACKAGES = (
    *("torch", "numpy", "pandas", "lightning", "optuna", "dvc", "mlflow"),
    *(
        "onnx",
        "onnxruntime",
        "ai-edge-litert",
        "opencv-python-headless",
        "codecarbon",
    ),  # extras edge and pose
)


@app.command()
def doctor(data: Data = Path("data")) -> None:
    """What is installed, which backends and devices there are, which data sources answer."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    versions = Table("Package", "Version", title="Installed", title_justify="left")
    versions.add_row("Python", platform.python_version())
    versions.add_row("skipw", skipw.__version__)
    for name in PACKAGES:
        versions.add_row(name, _version(name))
    console.print(versions)

    backends = Table("Backend", "Here", title="Backends", title_justify="left")
    for name, answer in _backends().items():
        backends.add_row(name, _coloured(answer))
    backends.add_row("stream (C step)", _coloured(_c_step()))
    console.print(backends)
    console.print(f"Devices: {', '.join(_devices())}")

    sources = Table("Data set", "Part", "Place", "Answers", title="Data sources", title_justify="left")
    with console.status("asking the data sources ..."), ThreadPoolExecutor() as pool:
        answers = dict(zip(DATASETS, pool.map(_places, DATASETS), strict=True))
    for dataset, places in answers.items():
        for part, place, answer in places:
            sources.add_row(dataset, part, place, _coloured(answer))
        sources.add_row(dataset, "", f"in {data / 'raw' / dataset}", _recorded(data / "raw" / dataset))
        sources.add_section()
    console.print(sources)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _backends() -> dict[str, str]:
    from skipw.ops.dispatch import available

    return available()


def _c_step() -> str:
    from skipw.runtime.c.stream import missing

    return missing() or "yes"


def _devices() -> list[str]:
    import torch

    found = [f"CPU ({torch.get_num_threads()} threads)"]
    found += [f"CUDA {i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    return found


def _places(dataset: str) -> list[tuple[str, str, str]]:
    from skipw.data.places import probe

    return probe(dataset)


def _recorded(raw: Path) -> str:
    """Where the data that is there came from."""
    from skipw.data.sources import read_record

    return str(read_record(raw).get("data_source", "nothing yet"))


def _coloured(answer: str) -> str:
    from rich.markup import escape

    return f"[{'green' if answer.startswith('yes') else 'yellow'}]{escape(answer)}[/]"
