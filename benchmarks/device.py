"""What is measured on a rented GPU: one script, its commands within ten minutes each.

    python benchmarks/device.py correctness                       # kernels against the reference, in float64
    python benchmarks/device.py timings                           # against cuDNN and an eager loop, interleaved
    python benchmarks/device.py train --data DIR --slice-minutes 9      # 8 λ side by side; run it again to go on
    python benchmarks/device.py pack --data data/prepared/mnist --into DIR    # the data set in 20 MB, to carry there
    python benchmarks/device.py compile                           # without a GPU: registers, spills, shared memory

It needs torch, triton, numpy and safetensors, and the repository; results go to --out (default $OUT, else
benchmarks/results/device). With --tiny everything runs on small sizes, on the CPU too (TRITON_INTERPRET=1).
The exit code is 1 if a check failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    default_out = Path(os.environ.get("OUT", ROOT / "benchmarks" / "results" / "device"))
    made = {
        name: commands.add_parser(name) for name in ("correctness", "timings", "train", "pack", "compile")
    }
    for name in ("correctness", "timings", "train"):
        made[name].add_argument("--out", type=Path, default=default_out, help="folder for results")
        made[name].add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    precisions = ("ieee", "tf32x3", "tf32", "bf16")
    for name in ("correctness", "timings"):
        made[name].add_argument("--precisions", nargs="+", choices=precisions, default=list(precisions))
    made["timings"].add_argument("--minutes", type=float, default=6.0, help="stop measuring after this")
    train = made["train"]
    train.add_argument("--data", type=Path, required=True, help="a prepared or packed data set")
    train.add_argument("--resume", type=Path, help="folder of an earlier slice (default: --out)")
    train.add_argument("--slice-minutes", type=float, default=9.0, help="stop, resumably, after this")
    train.add_argument("--precision", choices=precisions, default="tf32")
    train.add_argument("--epochs", type=int, default=600)
    train.add_argument("--batch-size", type=int, default=256)
    train.add_argument("--hidden-size", type=int, default=128)
    train.add_argument("--window", type=int, default=28)
    train.add_argument("--learning-rate", type=float, default=1e-4)
    train.add_argument("--gate-state-gradient", type=float, default=0.1)
    train.add_argument("--val-every", type=int, default=5, help="epochs between validations")
    costs = [0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
    train.add_argument("--costs", type=float, nargs="+", default=costs, help="λ of each model")
    made["compile"].add_argument("--capability", type=int, default=90, help="90 is Hopper (H100, H200)")
    made["compile"].add_argument("--only", nargs="+", help="names of kernels, as the table shows them")
    made["pack"].add_argument("--data", type=Path, required=True)
    made["pack"].add_argument("--into", type=Path, required=True)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = arguments(given)
    if chosen.command == "pack":
        from benchmarks.device import pixels

        pixels.pack(chosen.data, chosen.into)
        return 0
    if chosen.command == "compile":
        from benchmarks.device import compiled

        return compiled.run(chosen.capability, chosen.only)
    from benchmarks.device import place

    device = place.find(chosen.tiny)
    chosen.out.mkdir(parents=True, exist_ok=True)
    match chosen.command:
        case "correctness":
            from benchmarks.device import correctness

            return correctness.run(device, chosen.out, chosen.precisions, chosen.tiny)
        case "timings":
            from benchmarks.device import timings

            return timings.run(device, chosen.out, chosen.precisions, chosen.minutes, chosen.tiny)
        case _:
            from benchmarks.device import sweep

            return sweep.run(device, chosen)


if __name__ == "__main__":
    sys.exit(main())
