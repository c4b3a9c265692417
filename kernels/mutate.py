#!/usr/bin/env python3
"""Breaks the kernels on purpose and asks whether the conformance cases notice, on the simulator.

    mutate.py PRONK [--stem STEM ...] [--most N] [--seed S] [--jobs N] [--minutes M]

PRONK is the built program. Each mutant is one changed instruction of the checked-in sm_90 PTX, given to `pronk ops test`
through PRONK_PTX. Writes MUTATIONS.md beside this file when all stems are asked for, else prints it. Explanations of survivors
are kept from one run to the next; exit code 1 if a survivor has none.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

KERNELS = pathlib.Path(__file__).resolve().parent
RECORD = KERNELS / "MUTATIONS.md"
# Products are mutated for types of three different layouts; the others are instances of the same templates.
TYPES = ["q4_0", "q4_k", "f16"]
PRODUCTS = ["mat_mul", "mat_mul_add", "norm_gate_up_swi_glu", "norm_qkv_rope_store"]
STEMS = ["add", "add_bias", "argmax", "attention", "embed", "gather", "kv_store", *PRODUCTS, "repack", "rms_norm", "rope", "stage", "swi_glu"]
# A loop without an end is a wrong result as well.
PATIENCE = 60  # seconds
UNEXPLAINED = "?"


def runs(stem, entry):
    """The `pronk ops test` selections that run this entry, or None if it is not to be mutated."""
    if stem in (*PRODUCTS, "embed", "repack"):
        found = re.fullmatch(rf"{stem}_({'|'.join(TYPES)})(_t1|_t4|_tiled)?", entry)
        if not found:
            return None
        return [["-o", "mat_mul" if stem == "repack" else stem, "--type", found[1]]]
    if stem == "stage":
        ty = "f32" if entry == "stage_bf16x2" else "q4_0"
        return [["-o", op, "--type", ty] for op in ("mat_mul", "norm_gate_up_swi_glu")]
    return [["-o", stem]]


def entries(lines):
    """(name, first line, line after the last) of each entry."""
    starts = [i for i, line in enumerate(lines) if line.startswith(".visible .entry ")]
    for start, end in zip(starts, [*starts[1:], len(lines)]):
        yield lines[start].split()[2].rstrip("("), start, end


def mutants(lines, start, end):
    """(kind, line, what takes its place) for the lines of one entry."""
    labels = {line[:-1]: i for i, line in enumerate(lines[start:end], start) if re.fullmatch(r"\$\w+:", line)}
    for i in range(start, end):
        line = lines[i]
        if re.match(r"(bar|barrier)\.(cta\.|warp\.)?sync|cp\.async\.wait_", line):
            yield "barrier", i, ""
        elif line.startswith("griddepcontrol.wait"):
            yield "wait", i, ""
        elif line.startswith("shfl.sync."):
            operands = line.rstrip(";").split(", ")
            operands[2] = "0"
            yield "shuffle", i, ", ".join(operands) + ";"
        elif found := re.fullmatch(r"@!?%p\d+ bra (\$\w+);", line):
            to = labels[found[1]]
            if to > i and (lines[to + 1] == "ret;" or any(touches_memory(text) for text in lines[i:to])):
                yield "guard", i, ""


def never_taken(pronk, stem, text, line, selections):
    """Whether no case takes the branch that a mutant of kind guard lacks: a trap in its place is not noticed either."""
    lines = text.splitlines()
    lines[line - 1] = re.sub(r"bra .*", "trap;", (KERNELS / "ptx" / f"{stem}.sm_90.ptx").read_text().splitlines()[line - 1])
    return verdict(pronk, stem, "\n".join(lines) + "\n", selections)[0] == "survived"


def touches_memory(line):
    return re.match(r"(@!?%p\d+ )?(ld|st|atom|red)\.(global|shared)|ldmatrix|cp\.async\.c", line)


def sample(all_of_entry, most, rng):
    """Up to `most`, as evenly over the kinds as there are."""
    if len(all_of_entry) <= most:
        return all_of_entry
    by_kind = {}
    for mutant in all_of_entry:
        by_kind.setdefault(mutant[0], []).append(mutant)
    for found in by_kind.values():
        rng.shuffle(found)
    chosen = []
    while len(chosen) < most:
        for found in by_kind.values():
            if found and len(chosen) < most:
                chosen.append(found.pop())
    return sorted(chosen, key=lambda mutant: mutant[1])


def verdict(pronk, stem, text, selections):
    """How the cases fare with this PTX: survived, check, result; and what was said."""
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / f"{stem}.sm_90.ptx").write_text(text)
        for selection in selections:
            command = [pronk, "ops", "test", "--device", "sim", "--json", "--fail-fast", *selection]
            try:
                done = subprocess.run(
                    command, env={**os.environ, "PRONK_PTX": folder}, capture_output=True, text=True, timeout=PATIENCE
                )
            except subprocess.TimeoutExpired:
                return "result", "no end"
            try:
                rows = json.loads(done.stdout)
            except ValueError:
                sys.exit(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")
            if not any(row["outcome"] == "passed" for row in rows) and done.returncode == 0:
                sys.exit(f"{' '.join(command)}: no case runs there")
            for row in rows:
                if row["outcome"] == "failed":
                    return ("result" if row["what"].startswith("step ") else "check"), row["what"]
    return "survived", ""


def ordinal(all_of_entry, mutant):
    """Its place among the entry's mutants of its kind, from 1: what names it as long as the kernel does not change."""
    return [m[1] for m in all_of_entry if m[0] == mutant[0]].index(mutant[1]) + 1


def explanations():
    """By survivor: what MUTATIONS.md says of it."""
    text = RECORD.read_text() if RECORD.exists() else ""
    return {(e, m): why for e, m, why in re.findall(r"^\| (\w+) \| (\w+ \d+ of \d+) \|[^|]*\|[^|]*\| (.*) \|$", text, re.M)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pronk", type=pathlib.Path)
    parser.add_argument("--stem", choices=STEMS, nargs="+", default=STEMS)
    parser.add_argument("--most", type=int, default=10, help="mutants of an entry (default: 10)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=15.0, help="then no further mutants are begun")
    args = parser.parse_args()
    pronk, deadline = args.pronk.resolve(), time.monotonic() + 60 * args.minutes

    work = []  # (stem, entry, name of the mutant, line, PTX, selections)
    for stem in args.stem:
        lines = (KERNELS / "ptx" / f"{stem}.sm_90.ptx").read_text().splitlines()
        for entry, start, end in entries(lines):
            selections = runs(stem, entry)
            if selections is None:
                continue
            found = list(mutants(lines, start, end))
            # By entry, so that a change to one kernel leaves the others' samples as they are.
            for mutant in sample(found, args.most, random.Random(f"{args.seed} {entry}")):
                kind, at, replacement = mutant
                name = f"{kind} {ordinal(found, mutant)} of {sum(m[0] == kind for m in found)}"
                changed = "\n".join([*lines[:at], replacement, *lines[at + 1 :]]) + "\n"
                work.append((stem, entry, name, at + 1, changed, selections))
        unchanged = [s for s in {tuple(map(tuple, w[5])) for w in work if w[0] == stem}]
        for selections in unchanged:
            how, what = verdict(pronk, stem, "\n".join(lines) + "\n", selections)
            if how != "survived":
                sys.exit(f"{stem}: fails without a mutation: {what}")

    def judge(item):
        if time.monotonic() > deadline:
            return item, None
        how, what = verdict(pronk, item[0], item[4], item[5])
        stem, _, name, line, text, selections = item
        if how == "survived" and name.startswith("guard") and never_taken(pronk, stem, text, line, selections):
            what = "no case takes the branch"
        return item, (how, what)

    counts, survivors, left = {}, [], 0
    known = explanations()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for (stem, entry, name, line, _, _), judged in pool.map(judge, work):
            if judged is None:
                left += 1
                continue
            how, what = judged
            print(f"{entry} {name} (line {line}): {how} {what}", file=sys.stderr, flush=True)
            row = counts.setdefault(stem, {"tried": 0, "check": 0, "result": 0, "survived": 0})
            row["tried"] += 1
            row[how] += 1
            if how == "survived":
                survivors.append((entry, name, line, "" if not name.startswith("guard") else "no" if what else "yes", known.get((entry, name), UNEXPLAINED)))

    report = [
        "# What the conformance cases notice (written by kernels/mutate.py)",
        "",
        "Each mutant is one changed instruction of the sm_90 PTX: a barrier or a wait for copies deleted (`barrier`), a branch",
        "around memory accesses or to the end deleted (`guard`), a shuffle that reads its own lane (`shuffle`),",
        "`griddepcontrol.wait` deleted (`wait`). `pronk ops test` on the simulator notices it by one of its checks or by a wrong",
        f"result. At most {args.most} mutants of an entry, drawn with seed {args.seed}; of the matrix products, the entries of one",
        f"type ({', '.join(TYPES)}).",
        "",
        "| kernel | tried | caught by a check | by a wrong result | survived |",
        "|---|--:|--:|--:|--:|",
    ]
    total = {key: sum(row[key] for row in counts.values()) for key in ("tried", "check", "result", "survived")}
    for stem, row in [*counts.items(), ("**all**", total)]:
        report.append(f"| {stem} | {row['tried']} | {row['check']} | {row['result']} | {row['survived']} |")
    if left:
        report += ["", f"Not tried for lack of time: {left}."]
    if survivors:
        report += ["", "## Survivors", "", "Taken: whether a case takes the branch that was deleted.", "", "| entry | mutant | line | taken | why |", "|---|---|--:|---|---|"]
        report += [f"| {' | '.join(map(str, survivor))} |" for survivor in survivors]
    text = "\n".join(report) + "\n"
    if args.stem == STEMS and not left:
        RECORD.write_text(text)
    else:
        print(text)
    unexplained = sum(why == UNEXPLAINED for *_, why in survivors)
    sys.exit(f"{unexplained} survivors without an explanation" if unexplained else 0)


if __name__ == "__main__":
    main()
