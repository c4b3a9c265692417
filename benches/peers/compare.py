#!/usr/bin/env python3
"""Compares the speed of pronk and llama.cpp on the CPU: the same files, the same machine, in turn.

    benches/peers/compare.py --llama-bench build/bin/llama-bench --pronk target/release/pronk model.gguf ...

Each cell is one model, number of threads and test: `pp64` and `pp512` read a prompt of so many tokens, `tg64` generates 64. In every
round both programs run once, with 1 and with 1 + N repetitions: the difference of their CPU times is that of N repetitions, without
loading and warming up. Only user time counts: that of the system is of loading, and varies more than a test takes. Tokens per second are the programs' own, of the longer run. The table has medians over the rounds.

A busy machine lowers tokens per second; CPU time per token (of all threads) moves less, except that threads which spin while they
wait for each other count as busy.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path


def run(command):
    """The JSON that a command prints, and the seconds of user time that it takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.strip()}")
    return json.loads(done.stdout), after.ru_utime - before.ru_utime


def measure(command, tokens, repetitions):
    """(tokens per second, CPU seconds per token)"""
    _, once = run([*command, "-r", "1"])
    rows, more = run([*command, "-r", str(1 + repetitions)])
    if len(rows) != 1:
        sys.exit(f"{' '.join(command)}: {len(rows)} results, 1 expected")
    return rows[0]["avg_ts"], (more - once) / (repetitions * tokens)


def numbers(text):
    return [int(n) for n in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="FILE", help="GGUF files")
    parser.add_argument("--llama-bench", required=True, type=Path, help="llama.cpp's llama-bench, built for this machine")
    parser.add_argument("--pronk", default=Path("target/release/pronk"), type=Path, help="the program pronk")
    parser.add_argument("--threads", default="1,2", type=numbers, metavar="N,...", help="numbers of threads [1,2]")
    parser.add_argument("--prompt", default="64,512", type=numbers, metavar="N,...", help="lengths of prompts [64,512]")
    parser.add_argument("--gen", default="64", type=numbers, metavar="N,...", help="numbers of tokens to generate [64]")
    parser.add_argument("--rounds", default=3, type=int, metavar="N", help="times that each cell is measured [3]")
    parser.add_argument("--repetitions", default=2, type=int, metavar="N", help="repetitions that count [2]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every measurement as JSON")
    args = parser.parse_args()

    tests = [("pp", n) for n in args.prompt if n] + [("tg", n) for n in args.gen if n]
    cells = []
    print("| model | threads | test | llama.cpp t/s | pronk t/s | ratio | llama.cpp CPU ms/t | pronk CPU ms/t | ratio |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for model in args.models:
        for threads in args.threads:
            for kind, n in tests:
                p, g = (n, 0) if kind == "pp" else (0, n)
                common = ["-m", str(model), "-t", str(threads), "-p", str(p), "-n", str(g), "-o", "json"]
                programs = {
                    "llama.cpp": [str(args.llama_bench), *common, "-ngl", "0"],
                    "pronk": [str(args.pronk), "bench", *common, "--device", "cpu"],
                }
                found = {name: [] for name in programs}
                for _ in range(args.rounds):
                    for name, command in programs.items():
                        found[name].append(measure(command, n, args.repetitions))
                cell = {"model": model.name, "threads": threads, "test": f"{kind}{n}"}
                for name, results in found.items():
                    cell[name] = {
                        "tokens_per_s": [speed for speed, _ in results],
                        "cpu_s_per_token": [cpu for _, cpu in results],
                    }
                cells.append(cell)
                print(row(cell), flush=True)
    if args.out:
        machine = {"cpu": cpu_name(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.out.write_text(json.dumps({"machine": machine, "cells": cells}, indent=1) + "\n")


def row(cell):
    """A row of the table."""
    speed, cpu = (
        {name: statistics.median(cell[name][key]) for name in ("llama.cpp", "pronk")}
        for key in ("tokens_per_s", "cpu_s_per_token")
    )
    return (
        f"| {cell['model']} | {cell['threads']} | {cell['test']}"
        f" | {speed['llama.cpp']:.1f} | {speed['pronk']:.1f} | {speed['pronk'] / speed['llama.cpp']:.2f}"
        f" | {1e3 * cpu['llama.cpp']:.2f} | {1e3 * cpu['pronk']:.2f} | {cpu['llama.cpp'] / cpu['pronk']:.2f} |"
    )


def cpu_name():
    """The processor's name, as Linux has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
