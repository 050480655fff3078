"""``skipw har``: actions in camera frames."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from skipw.cli.app import app
from skipw.errors import DataFormatError

if TYPE_CHECKING:
    from skipw.actions.service import FrameResult
    from skipw.runtime.stream import StreamModel


@app.command()
def har(
    source: Annotated[str, typer.Argument(help="A video file, a folder of images, or webcam:0.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model or bundle that reads 18 joints.")],
    budget: Annotated[int | None, typer.Option(help="Most frames processed in a window.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Least importance of a processed frame.")] = None,
    pose: Annotated[str, typer.Option(help="Pose network: lite, full or heavy.")] = "lite",
    pose_files: Annotated[
        Path | None, typer.Option(help="Folder of its files; default: the user's cache.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(help="Frames a second that the model knows; more are passed over.")
    ] = None,
    source_fps: Annotated[
        float | None, typer.Option(help="Frames a second of a source that does not say (a folder).")
    ] = None,
    sequence: Annotated[int, typer.Option(help="Frames after which a new sequence begins.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Write JSON lines here too.")] = None,
) -> None:
    """Recognise actions: frames, BlazePose, SkipW. A skipped frame is not decoded and costs no pose (docs/actions.md).

    A line a window: frames, the action so far and its score (= where a sequence ends), frames processed, time spent.
    Ctrl-C ends it.
    """
    from skipw.actions.frames import open_frames
    from skipw.actions.pose_files import obtain_pose_files
    from skipw.actions.pose_model import PoseModel
    from skipw.actions.report import reports, summary
    from skipw.actions.service import ActionService
    from skipw.runtime.stream import StreamModel

    trained = StreamModel.load(model)
    frames = open_frames(source, source_fps=source_fps, fps=fps)
    with ExitStack() as stack:
        stack.callback(frames.close)
        finder = PoseModel(obtain_pose_files(pose, pose_files))
        service = ActionService(trained, finder, _point(trained, budget, threshold), num_steps=sequence)
        write = _writer(out, stack)
        _warn(trained)
        classes = trained.description.get("classes") or ()
        started = time.monotonic()
        with _display() as (live, say):
            results = _shown(service.run(frames), live)
            try:
                for report in reports(results, window=trained.window, num_steps=sequence, classes=classes):
                    say(report.line())
                    write(report.to_json())
            except KeyboardInterrupt:
                say("stopped")
        seconds = time.monotonic() - started
        typer.echo(summary(service.totals, trained.window, seconds))
        counts = {"pose_calls": finder.calls, "pose_detections": finder.detections}
        rounded = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in vars(service.totals).items()
        }
        write({"kind": "summary", "seconds": round(seconds, 3), **rounded, **counts})


def _point(model: StreamModel, budget: int | None, threshold: float | None) -> Any:
    """None, the model's default, where nothing was asked for."""
    from skipw.operating_point import OperatingPoint

    if budget is None and threshold is None:
        return None
    return OperatingPoint(budget) if threshold is None else OperatingPoint(budget, threshold)


def _warn(model: StreamModel) -> None:
    """A model that was trained on places in its own camera's image does not fit another camera."""
    normaliser = model.description.get("normaliser") or {}
    if normaliser.get("kind") != "pose":
        typer.secho(
            "this model's normaliser is not of the kind 'pose': it knows joints' places in its own camera's image",
            fg="yellow", err=True,
        )  # fmt: skip


def _writer(out: Path | None, stack: ExitStack) -> Any:
    if out is None:
        return lambda values: None
    try:
        file = stack.enter_context(out.open("w", encoding="utf-8"))
    except OSError as error:
        raise DataFormatError(
            f"--out {out} cannot be written ({error.strerror or error}); name a file in a folder that exists."
        ) from error

    def write(values: dict[str, Any]) -> None:
        file.write(json.dumps(values) + "\n")
        file.flush()

    return write


@contextmanager
def _display() -> Iterator[tuple[Any, Any]]:
    """(live, say): a line that changes with each frame where there is a terminal, and lines that stay."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        yield None, typer.echo
        return

    def say(text: str) -> None:
        console.print(text, soft_wrap=True)

    with console.status("waiting for frames ...") as status:
        yield status.update, say


def _shown(results: Iterator[FrameResult], live: Any) -> Iterator[FrameResult]:
    """The same results, each told to the live line as it passes."""
    for result in results:
        if live is not None:
            what = "processed" if result.processed else "skipped"
            live(f"frame {result.frame}: {what}; class {result.action + 1} ({result.scores.max():.0%})")
        yield result
