"""`make bench`: all promised figures, measured, in one table and in `build/bench.json`."""

import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import bench_forecast, bench_pipeline, bench_preprocess, bench_startup, bench_training

RESULTS = Path(__file__).parents[1] / "build" / "bench.json"
BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "startup": bench_startup.measure,
    "training": bench_training.measure,
    "forecast": bench_forecast.measure,
    "preprocess": bench_preprocess.measure,
    "pipeline": bench_pipeline.measure,
}


def rows(figures: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return a row per figure: its name, its target and the value measured."""
    startup, training, forecast = figures["startup"], figures["training"], figures["forecast"]
    preprocess, pipeline = figures["preprocess"], figures["pipeline"]
    table = [
        (f"whole pipeline, {pipeline['dataset']}, all rows", "<= 50 s", f"{pipeline['seconds']:.1f} s"),
        ("the same again, all cached", "", f"{pipeline['repeat_seconds']:.1f} s"),
        ("two runs from nothing", "identical", "identical" if pipeline["identical"] else "DIFFERENT"),
        (
            f"{pipeline['promoted']}'s backtest RMSE against persistence",
            "",
            f"{-pipeline['backtest_skill']:+.1%}",
        ),
    ]
    for model in ("GRU", "LSTM"):
        ours = training[model]
        table += [
            (f"{model} training, share of sgemm", ">= 60 %", f"{ours['flts']['share_of_sgemm']:.1%}"),
            ("the same, medians instead of the best", "", f"{ours['flts']['median_share_of_sgemm']:.1%}"),
            (f"{model} training, epoch", "", f"{ours['flts']['epoch_seconds']:.2f} s"),
            (f"{model}, plain loop / FLTS", "", f"{ours['ratio_to_plain']:.2f}x"),
            (f"{model}, DataLoader loop / FLTS", "", f"{ours['ratio_to_dataloader']:.2f}x"),
        ]
    return [
        *table,
        (f"preprocess {preprocess['rows']:,} rows / pandas", "<= 2x", f"{preprocess['ratio_to_pandas']:.2f}x"),
        ("its peak memory / the frame", "<= 3x", f"{preprocess['peak_memory_in_frames']:.2f}x"),
        (
            f"rolling forecast of {forecast['steps']:,} steps, loop / FLTS",
            ">= 30x",
            f"{forecast['ratio_to_plain_loop']:.1f}x",
        ),
        ("slowest --help", "< 0.5 s", f"{startup['slowest_help_seconds']:.2f} s"),
        ("preprocess to its first read", "< 1.5 s", f"{startup['preprocess_first_read_seconds']:.2f} s"),
    ]


def main(names: list[str]) -> int:
    """Run the named benchmarks, by default all, and print the table when all were run."""
    console = Console()
    if unknown := set(names) - set(BENCHMARKS):
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    figures: dict[str, Any] = {"machine": f"{platform.machine()}, Python {platform.python_version()}"}
    for name in names or BENCHMARKS:
        with console.status(f"measuring {name}"):
            figures[name] = BENCHMARKS[name]()
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    if not names:
        table = Table("what", "target", "measured")
        for row in rows(figures):
            table.add_row(*row)
        console.print(table)
    else:
        console.print_json(data=figures)
    console.print(f"all figures: {RESULTS}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
