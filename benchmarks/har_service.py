"""The HAR service on this machine: latency of a sequence, its shares, power (the paper's figures 10, 29 and 30).

python benchmarks/har_service.py --model data/models/har/har-skipw-sparse [--sequences 60] [--rounds 3]
python benchmarks/har_service.py --draw benchmarks/results/har-service-DATE.json

Frames are a picture of a person out of scikit-image, filmed by a moving camera at 640 x 480 (Motion JPEG): they cost
what camera frames cost, and show no action. Operating points and pose networks run in turns, one thread. Writes
benchmarks/results/har-service-DATE.json and three figures under docs/images.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import statistics
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import skipw
from skipw.actions.energy import find_meter
from skipw.actions.figures import draw_latency, draw_power, draw_shares
from skipw.actions.film import film, write_video
from skipw.actions.measure import PowerRecord, SequenceRecord, measure_power, measure_sequences
from skipw.actions.pose_files import PACKAGE, VARIANTS, obtain_pose_files
from skipw.errors import SkipWError
from skipw.operating_point import OperatingPoint
from skipw.runtime.stream import StreamModel

log = logging.getLogger("har_service")
STEPS = 32
PACKAGES = ("ai-edge-litert", "opencv-python-headless", "codecarbon", "numpy")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that is written to the results file."""
    import skimage.data

    from skipw.benchmark.machine import describe_machine

    machine = describe_machine()
    model = StreamModel.load(args.model)
    window = model.window
    if window is None:
        raise SystemExit(f"a SkipW model is needed, {args.model} has no windows")
    budgets = [k for k in (8, 4, 2, 1) if k < window] or [1]
    points = [OperatingPoint(k, thr) for k in (window, *budgets) for thr in (0.0, 0.5)]
    files = {variant: obtain_pose_files(variant, args.pose_files) for variant in args.pose}
    meter = find_meter()
    with tempfile.TemporaryDirectory() as folder:
        frames = film(skimage.data.astronaut(), STEPS * (args.sequences + 1))
        clips = [Path(folder) / f"{number}.avi" for number in range(args.sequences + 1)]
        for clip in clips:
            write_video(clip, (next(frames) for _ in range(STEPS)))
        sequences = measure_sequences(model, files, clips, points, say=log.info)
        long = Path(folder) / "long.avi"
        write_video(long, film(skimage.data.astronaut(), 4 * STEPS, seed=1))
        power = measure_power(model, files, long, points, meter, rounds=args.rounds, say=log.info)
    return {
        "schema": 1,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine | {"load_after": round(os.getloadavg()[0], 2)},
        "versions": {name: metadata.version(name) for name in PACKAGES} | {"skipw": skipw.__version__},
        "pose_package": "@".join(PACKAGE),
        "model": {
            key: model.description.get(key)
            for key in ("experiment", "title", "data_source", "cost_per_input", "checkpoint_sha256")
        }
        | {"window": window},
        "threads": 1,
        "frame": [640, 480],
        "energy": {"source": meter.source, "measured": meter.measured, "fps": 22.0},
        "sequences": [_plain(record) for record in sequences],
        "power": [_plain(record) for record in power],
    }


def _plain(record: Any) -> dict[str, Any]:
    values = dataclasses.asdict(record)
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}


def draw(results: dict[str, Any], folder: Path) -> None:
    """The three figures."""
    sequences = [SequenceRecord(**record) for record in results["sequences"]]
    power = [PowerRecord(**record) for record in results["power"]]
    model, energy = results["model"], results["energy"]
    about = (
        f"SkipW (λ = {model['cost_per_input']:g}, L = {model['window']}) trained on {model['title']}. "
        f"A filmed picture, 640 x 480. {results['machine']['cpu']}, networks on one thread."
    )
    count = len({record.clip for record in sequences})
    folder.mkdir(parents=True, exist_ok=True)
    draw_latency(folder / "har-latency.png", sequences, subtitle=f"{about} {count} sequences a box.")
    draw_shares(folder / "har-shares.png", sequences, subtitle=f"{about} {count} sequences a bar.")
    draw_power(
        folder / "har-power.png", power, source=energy["source"], measured=energy["measured"], subtitle=about
    )


def latency_table(results: dict[str, Any]) -> str:
    """Medians of a sequence at each operating point, in ms; of single frames too."""
    lines = [
        "| pose network | [K, thr] | inputs processed | latency of a sequence (5 to 95 %), ms | processor time, ms "
        "| pose | decoding | SkipW | a processed frame, ms | a skipped frame, µs |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    records = [SequenceRecord(**record) for record in results["sequences"]]
    shares = ("cpu_ms", "pose_ms", "read_ms", "rnn_ms")
    for key in dict.fromkeys(_key(r) for r in sorted(records, key=_place)):
        own = [r for r in records if _key(r) == key]
        cuts = statistics.quantiles([r.latency_ms for r in own], n=20, method="inclusive")
        frame = [r.frame_ms for r in own if r.frame_ms is not None]
        skipped = [r.skipped_ms for r in own if r.skipped_ms is not None]
        cells = [
            *_named(key, own),
            f"{cuts[9]:.0f} ({cuts[0]:.0f} to {cuts[-1]:.0f})",
            *(f"{statistics.median(getattr(r, name) for r in own):.1f}" for name in shares),
            f"{statistics.median(frame):.1f}" if frame else "",
            f"{1e3 * statistics.median(skipped):.0f}" if skipped else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def power_table(results: dict[str, Any]) -> str:
    """Medians at the camera's pace; "no pause": every frame, as fast as it goes."""
    lines = [
        "| pose network | [K, thr] | inputs processed | power, mW | a sequence, mJ | processor, % of a core |",
        "|---|---|---|---|---|---|",
    ]
    records = [PowerRecord(**record) for record in results["power"] if record["frames"]]
    for key in dict.fromkeys(
        (*_key(r), r.paced) for r in sorted(records, key=lambda r: (_place(r), not r.paced))
    ):
        own = [r for r in records if (*_key(r), r.paced) == key]
        name, point, share = _named(key[:3], own)
        busy = statistics.median(100 * r.cpu_seconds / r.seconds for r in own)
        cells = [name, point if key[3] else f"{point}, no pause", share]
        cells += [f"{statistics.median(getattr(r, n) for r in own):.0f}" for n in ("power_mw", "sequence_mj")]
        lines.append("| " + " | ".join([*cells, f"{busy:.0f}"]) + " |")
    return "\n".join(lines)


def _key(record: SequenceRecord | PowerRecord) -> tuple[str, int, float]:
    return record.pose, record.budget, record.threshold


def _named(key: tuple[str, int, float], own: Sequence[SequenceRecord | PowerRecord]) -> list[str]:
    share = sum(r.processed for r in own) / sum(r.frames for r in own)
    return [key[0], f"[{key[1]}, {key[2]:g}]", f"{share:.1%}"]


def _place(record: SequenceRecord | PowerRecord) -> tuple[int, int, float]:
    return VARIANTS.index(record.pose), -record.budget, record.threshold


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=Path("data/models/har/har-skipw-sparse"))
    parser.add_argument("--pose", nargs="+", choices=VARIANTS, default=["lite", "full"])
    parser.add_argument("--pose-files", type=Path, help="folder of the networks; default: the user's cache")
    parser.add_argument("--sequences", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3, help="of the power measurement, 6 s a point")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--images", type=Path, default=Path("docs/images"))
    parser.add_argument("--draw", type=Path, help="only draw the figures of this results file")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    if args.draw is None:
        try:
            results = measure(args)
        except SkipWError as error:
            raise SystemExit(f"har_service: {error}") from error
        path = args.out / f"har-service-{results['date']}.json"
        path.write_text(json.dumps(results) + "\n", encoding="utf-8")
        log.info("written: %s", path)
    else:
        results = json.loads(args.draw.read_text(encoding="utf-8"))
    draw(results, args.images)
    print(latency_table(results), power_table(results), sep="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()
