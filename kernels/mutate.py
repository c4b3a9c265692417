#!/usr/bin/env python3
"""Removes every check and every barrier of the kernels' sources, one at a time, and asks whether the tests notice.

    mutate.py PRONK [--file NAME ...] [--jobs N]

PRONK is the built program. Each mutant is one change of one expression in a scratch copy of this folder, compiled for sm_90 and
given through PRONK_PTX to `pronk ops test --device sim` (to tests/it/top_k.rs for top_k, which no operation uses yet):

  barrier   a barrier, a wait for copies or for the kernels before, or the end of a group of copies deleted
  check     a comparison by order (<, <=, >, >=) or the name of one before a `?` taken as true, and as false
  limit     min(a, b) or max(a, b) taken as a, and as b
  loop      a loop that counts up runs one round more; any other, none. Loops that `#pragma unroll` writes out are left alone:
            their counters are indices of registers
  shuffle   __shfl_xor_sync or lane_xor gives each lane its own value

A mutant of a header counts as noticed when one kernel made of it fails. Matrix products are compiled for TYPES only.
Where nothing fails, the same place is made to trap when the change matters: then the record says whether any case gets there.
Writes MUTATIONS.md beside this file; with --file, the rows of those files only. Reasons of survivors are written there by hand and
kept from one run to the next; exit code 1 if a survivor has none.
"""
import argparse
import collections
import concurrent.futures
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import build

KERNELS = build.KERNELS
RECORD = KERNELS / "MUTATIONS.md"
ARCH = "sm_90"
# Types of the products: rows of any length or of whole units, and each form of operands of tensor cores.
TYPES = ["f32", "bf16", "f16", "q4_0", "q8_0"]
# Those of them whose elements are integers.
QUANTIZED = ["q4_0", "q8_0"]
PRODUCTS = sorted(path.stem for path in (KERNELS / "products").glob("*.cu") if path.stem != "stage")
# Operations that run on the kernels of another.
ON_MAT_MUL = ["mat_mul_add", "gather_norm_mat_mul_argmax"]
# Seconds that a command may take: an endless loop counts as a wrong result.
PATIENCE = 120
# Added to the scratch copy: traps where the change makes a difference.
PROBE = """
template <class A, class B> __device__ __forceinline__ B instead(A is, B taken) {
    if (is != taken) asm volatile("trap;");
    return taken;
}
"""
UNEXPLAINED = "?"


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    before: str  # what is replaced, from column `at` on
    after: str
    at: int
    probe: str | None  # in place of `after`: traps where that makes a difference

    def name(self):
        """As a cell of a table."""
        return (f"`{self.before}` → " + (f"`{self.after}`" if self.after else "nothing")).replace("|", "\\|")


def span(code, at, step, stops):
    """From `at` in direction `step`, the place before the first of `stops` that is not inside parentheses."""
    depth = 0
    while 0 <= at < len(code):
        c = code[at]
        opens, closes = ("([{", ")]}") if step > 0 else (")]}", "([{")
        if c in closes and depth == 0 or depth == 0 and any(code.startswith(s, at) for s in stops):
            break
        depth += (c in opens) - (c in closes)
        at += step
    return at


def arguments(code, at):
    """The arguments of the call whose parenthesis opens at `at`, and where it ends."""
    found, start = [], at + 1
    while True:
        end = span(code, start, 1, [","])
        found.append(code[start:end].strip())
        if code[end] != ",":
            return found, end + 1
        start = end + 1


def comparisons(code):
    """(start, end, expression) of each comparison by order."""
    for found in re.finditer(r"(?<=[\w)\]]) (<=?|>=?) (?=[\w(-])", code):
        start = span(code, found.start(), -1, [",", ";", "?", "&&", "||", " = ", ": ", "return "]) + 1
        start += re.match(r"(&|\||=|eturn)? *", code[start:]).end()
        end = span(code, found.end(), 1, [",", ";", " ?", " &&", " ||", " :"])
        yield start, end, code[start:end]


def mutants_of_line(code, unrolled):
    """(start, end, replacement, probe) for one line without its comment."""
    calls = r"(__syncthreads|__syncwarp|wait_for_inputs|copy_wait<[^>]*>|copy_commit|grid\.sync)\([^()]*\)(?=;)"
    waits = r"asm volatile\(\"(griddepcontrol\.wait|cp\.async\.(wait|commit)_group|bar)\b[^;]*;\"[^;]*\)(?=;)"
    for found in re.finditer(f"{calls}|{waits}", code):
        if not code.startswith("__device__") or found[0].startswith("asm"):
            yield *found.span(), "", None
    loop = re.search(r"\b(for|while) \(", code)
    inside = range(loop.end(), span(code, loop.end(), 1, [])) if loop else ()
    for start, end, text in comparisons(code):
        if start in inside:
            step = re.search(r"(\+\+| \+= (.*))$", code[inside.start : inside.stop])
            after = f"{text} + {step[2] or 1}" if step else "false"
            if not unrolled:
                yield start, end, after, None
        else:
            for value in ("true", "false"):
                yield start, end, value, f"instead({text}, {value})"
    for found in re.finditer(r"(?:[(,:]|return|[^!<>=]=) ?([a-z_.]+)(?= \? )", code):
        for value in ("true", "false"):
            yield *found.span(1), value, f"instead(bool({found[1]}), {value})"
    for found in re.finditer(r"\b(min|max)\(", code):
        (a, b), end = arguments(code, found.end() - 1)
        for value in (a, b):
            yield found.start(), end, f"({value})", f"instead({code[found.start():end]}, {value})"
    for found in re.finditer(r"__shfl_xor_sync\(", code):
        (_, value, _), end = arguments(code, found.end() - 1)
        yield found.start(), end, value, None
    for found in re.finditer(r"(?<!float )(?<!u32 )lane_xor<\d+>\(", code):
        (value,), end = arguments(code, found.end() - 1)
        yield found.start(), end, f"({value})", None


def mutants(file):
    """All mutants of one source."""
    unrolled = False
    for number, line in enumerate((KERNELS / file).read_text().splitlines(), 1):
        code = line.split("//")[0].rstrip(" \\")
        if not re.match(r"\s*(#|template|static_assert|(static )?constexpr|__host__)", code):
            for start, end, after, probe in mutants_of_line(code, unrolled):
                yield Mutant(file, number, code[start:end], after, start, probe)
        if code.strip() and not code.lstrip().startswith("for "):
            unrolled = code.strip() == "#pragma unroll"


def selections(stem):
    """The commands that run the kernels of a stem; to be given a program's path first, where it is None."""
    test = [None, "ops", "test", "--device", "sim", "--json", "--fail-fast", "-o"]
    if stem == "top_k":
        return [["cargo", "test", "-q", "--test", "it", "top_k::"]]
    if stem in PRODUCTS:
        ops = [stem, *ON_MAT_MUL] if stem == "mat_mul" else [stem]
        return [[*test, op, "--type", ty] for ty in TYPES for op in ops]
    if stem == "stage":
        return [[*test, op, "--type", ty] for ty in TYPES for op in ("mat_mul", "norm_gate_up_swi_glu")]
    return [[*test, "mat_mul" if stem == "repack" else stem]]


class Scratch:
    """A copy of this folder, for one process."""

    def __init__(self, pronk):
        self.pronk = pronk
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mutate-"))
        self.nvrtc = build.Nvrtc(build.tools())
        build.KERNELS = self.folder  # what it compiles
        os.chdir(self.folder)  # where it looks for headers first
        for path in [*KERNELS.glob("*/*.cu*"), *KERNELS.glob("*/*.h"), *KERNELS.glob("*.txt")]:
            copy = self.folder / path.relative_to(KERNELS)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(path, copy)
        with open(self.folder / "shared" / "params.h", "a") as params:
            params.write(PROBE)
        structs = dict(re.findall(r"\bX\((\w+), (\w+)\)", (self.folder / "formats" / "types.cuh").read_text()))
        for path in (self.folder / build.stems()[stem] for stem in PRODUCTS):
            text = path.read_text()
            for macro, types in (("ENTRY", TYPES), ("DECODE_ENTRY", QUANTIZED)):
                few = " ".join(f"{macro}({ty}, {structs[ty]})" for ty in types)
                text = re.sub(rf"^\w+_TYPES\({macro}\)$", few, text, flags=re.M)
            path.write_text(re.sub(r"^MIXED\(.*\)$", "", text, flags=re.M))

    def compiled(self, stem):
        return self.nvrtc.compile(stem, ARCH).split("\n", 1)[1]

    @functools.cache
    def unchanged(self, stem):
        return self.compiled(stem)

    def changed(self, mutant, after):
        """The PTX of each stem that is made of the mutant's file, with `after` in its place, one after the other."""
        path = self.folder / mutant.file
        text = path.read_text()
        lines = text.split("\n")
        line = lines[mutant.line - 1]
        assert line.startswith(mutant.before, mutant.at), (mutant, line)
        lines[mutant.line - 1] = line[: mutant.at] + after + line[mutant.at + len(mutant.before) :]
        for stem in stems_of(mutant.file):
            self.unchanged(stem)
            path.write_text("\n".join(lines))
            try:
                yield stem, self.compiled(stem)
            finally:
                path.write_text(text)

    def verdict(self, stem, ptx):
        """What the tests of a stem notice of this PTX: survived, check or result; and the first message."""
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / f"{stem}.{ARCH}.ptx").write_text(ptx)
            for command in selections(stem):
                command = [self.pronk if part is None else part for part in command]
                env = {**os.environ, "PRONK_PTX": folder}
                try:
                    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, cwd=KERNELS)
                except subprocess.TimeoutExpired:
                    return "result", "no end"
                what = failure(command, done)
                if what:
                    return ("result" if re.search(r"^step \d|^assertion|^rows beyond", what) else "check"), what
        return "survived", ""

    def judge(self, mutant):
        """(how it was noticed: check, result, survived or same; by which stem; what was said)."""
        how = "same"
        for stem, ptx in self.changed(mutant, mutant.after):
            if ptx != self.unchanged(stem):
                how, what = self.verdict(stem, ptx)
                if how != "survived":
                    return how, stem, what
        if how == "survived" and mutant.probe:
            trapped = (self.verdict(stem, ptx)[0] for stem, ptx in self.changed(mutant, mutant.probe))
            return how, "reached" if any(how != "survived" for how in trapped) else "not reached", ""
        return how, "", ""


def failure(command, done):
    """What failed, if anything did."""
    if command[0] == "cargo":
        found = re.search(r"panicked at .*\n(.*)", done.stdout + done.stderr)
        if done.returncode not in (0, 101) or done.returncode == 101 and not found:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
        return found[1] if found and done.returncode else None
    try:
        rows = json.loads(done.stdout)
    except ValueError:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}: {done.stderr.strip()}")
    failed = [row["what"] for row in rows if row["outcome"] == "failed"]
    if any("no entry" in what for what in failed) or not failed and not any(row["outcome"] == "passed" for row in rows):
        sys.exit(f"{' '.join(map(str, command))}: {failed or 'no case runs there'}")
    return failed[0] if failed else None


def stems_of(file):
    """The stems that are made of a file, those with the shortest cases first."""
    stems = [stem for stem in build.stems() if file in build.sources(stem)]
    return sorted(stems, key=lambda stem: (stem in PRODUCTS, stem == "attention", stem))


def begin(pronk):
    global scratch  # of this process
    scratch = Scratch(pronk)


def judge(mutant):
    return scratch.judge(mutant)


def fails_unchanged(stem):
    return scratch.verdict(stem, scratch.unchanged(stem))[1]


def recorded():
    """The rows of MUTATIONS.md: [place, mutation, verdict, where, what]."""
    text = RECORD.read_text() if RECORD.exists() else ""
    return [line[2:-2].split(" | ") for line in text.splitlines() if re.match(r"\| [\w./]+:\d+ \| ", line)]


def rows_of(results):
    """Results as rows; survivors with the reason that the record has."""
    named = lambda row, seen: (row[0].split(":")[0], row[1], seen[row[0].split(":")[0], row[1]])
    seen, reasons, rows = collections.Counter(), {}, []
    for row in sorted(recorded(), key=lambda row: int(row[0].split(":")[1])):
        seen[row[0].split(":")[0], row[1]] += 1
        if row[2] == "survived":
            reasons[named(row, seen)] = row[4]
    seen.clear()
    for mutant, (how, where, what) in results:
        row = [f"{mutant.file}:{mutant.line}", mutant.name(), how, where, re.sub(r"\s+", " ", what)[:110].replace("|", "\\|")]
        seen[mutant.file, row[1]] += 1
        if how == "survived":
            row[4] = reasons.get(named(row, seen), UNEXPLAINED)
        rows.append(row)
    return rows


def report(rows):
    """The record."""
    counts = collections.defaultdict(collections.Counter)
    for row in rows:
        counts[row[0].split(":")[0]][row[2]] += 1
    verdicts = ["same", "check", "result", "survived"]
    text = [
        "# What removing a check or a barrier of the kernels does (written by kernels/mutate.py)", "",
        "Each mutant changes one expression of one source, as kernels/mutate.py says, and is noticed by a check of the simulator",
        "or by a wrong result. Same: the compiler makes the same PTX of it, so that it is equivalent. Sources without a row have not",
        "been tried.", "",
        "| source | tried | same | caught by a check | by a wrong result | survived |", "|---|--:|--:|--:|--:|--:|",
    ]
    for file, row in [*counts.items(), ("**all**", sum(counts.values(), collections.Counter()))]:
        text.append(f"| {file} | {row.total()} | {' | '.join(str(row[verdict]) for verdict in verdicts)} |")
    survived = [row for row in rows if row[2] == "survived"]
    text += ["", "## Survivors", "", "Reached: a case gets to where the change matters; it fails when that place traps.", ""]
    text += ["| place | mutation | verdict | | why no case can tell |", "|---|---|---|---|---|"]
    text += [f"| {' | '.join(row)} |" for row in survived]
    text += ["", "## Others", "", "| place | mutation | noticed by | kernel | what was said first |", "|---|---|---|---|---|"]
    text += [f"| {' | '.join(row)} |" for row in rows if row[2] != "survived"]
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pronk", type=lambda path: pathlib.Path(path).resolve())
    files = sorted(path.relative_to(KERNELS).as_posix() for path in KERNELS.glob("*/*.cu*"))
    parser.add_argument("--file", choices=files, nargs="+", default=files)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="print the mutants and stop")
    args = parser.parse_args()
    work = [mutant for file in args.file for mutant in mutants(file)]
    if args.list:
        print("\n".join(f"{m.file}:{m.line} {m.name()}" for m in work))
        return
    results = []
    with concurrent.futures.ProcessPoolExecutor(args.jobs, initializer=begin, initargs=(args.pronk,)) as pool:
        stems = sorted({stem for file in args.file for stem in stems_of(file)})
        for stem, what in zip(stems, pool.map(fails_unchanged, stems)):
            if what:
                sys.exit(f"{stem}: fails without a mutation: {what}")
        for mutant, result in zip(work, pool.map(judge, work)):
            print(f"{mutant.file}:{mutant.line} {mutant.name()}: {' '.join(result)}", file=sys.stderr, flush=True)
            results.append((mutant, result))
    others = [row for row in recorded() if row[0].split(":")[0] in set(files) - set(args.file)]
    rows = sorted(others + rows_of(results), key=lambda row: row[0].split(":")[0])
    RECORD.write_text(report(rows))
    unexplained = sum(row[4] == UNEXPLAINED for row in rows)
    sys.exit(f"{unexplained} survivors without a reason" if unexplained else 0)


if __name__ == "__main__":
    main()
