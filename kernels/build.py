#!/usr/bin/env python3
"""Compiles the kernels to PTX with pinned tools from PyPI. Needs no GPU.

    build.py build    writes kernels/ptx/<stem>.<arch>.ptx, kernels/cubin/<stem>.lzma and kernels/ptx/resources.md
    build.py check    builds again and fails if anything differs from what is checked in, or spills

kernels/cubin has the machine code of each module for several GPUs, so that a start need not assemble the PTX.

The first line of each PTX file carries a hash of what it is made of, as `source_hash` computes it; tests/it/ptx.rs computes the
same without these tools.
"""
import ctypes
import hashlib
import itertools
import lzma
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import venv
from concurrent.futures import ThreadPoolExecutor

KERNELS = pathlib.Path(__file__).resolve().parent
PTX = KERNELS / "ptx"
CUBIN = KERNELS / "cubin"
CACHE = KERNELS.parent / ".cache" / "cuda-tools"

TOOLCHAIN = [line for line in (KERNELS / "toolchain.txt").read_text().splitlines() if not line.startswith("#")]
WHEELS = [line for line in TOOLCHAIN if not line.startswith("--")]
OPTIONS = [line for line in TOOLCHAIN if line.startswith("--")]
ARCHS = {"sm_80": "compute_80", "sm_90": "compute_90"}
# What ptxas assembles each PTX for: MACHINES of runtime/backend/cuda/kernels.rs.
TARGETS = [("sm_80", "sm_80"), ("sm_80", "sm_86"), ("sm_80", "sm_89"), ("sm_90", "sm_90")]


def tools():
    """The folder of the installed wheels; installs them on first use."""
    stamp = CACHE / "wheels.txt"
    if not stamp.exists() or stamp.read_text() != "\n".join(WHEELS):
        venv.create(CACHE, clear=True, with_pip=True)
        subprocess.run([CACHE / "bin" / "pip", "install", "-q", "--no-deps", *WHEELS], check=True)
        stamp.write_text("\n".join(WHEELS))
    return next(CACHE.glob("lib/python*/site-packages/nvidia"))


def stems():
    """The file of each stem, from this folder: stem -> ops/<stem>.cu. No two folders have the same stem."""
    files = sorted(KERNELS.glob("*/*.cu"))
    found = {path.stem: path.relative_to(KERNELS).as_posix() for path in files}
    assert len(found) == len(files), files
    return found


def sources(stem):
    """<stem>.cu and every file of ours that it includes, in order of first mention."""
    found, queue = [], [stems()[stem]]
    while queue:
        name = queue.pop(0)
        if name not in found:
            found.append(name)
            queue += re.findall(r'^#include "([^"]+)"$', (KERNELS / name).read_text(), re.M)
    return found


def options(arch):
    return [f"--gpu-architecture={ARCHS[arch]}", *OPTIONS]


def source_hash(stem, arch):
    """SHA-256 of toolchain.txt, the architecture option, and each source's name and bytes, a newline after each."""
    parts = [(KERNELS / "toolchain.txt").read_bytes(), options(arch)[0].encode()]
    for name in sources(stem):
        parts += [name.encode(), (KERNELS / name).read_bytes()]
    return hashlib.sha256(b"".join(part + b"\n" for part in parts)).hexdigest()


class Nvrtc:
    def __init__(self, nvidia):
        self.include = nvidia / "cuda_runtime" / "include"
        # NVRTC opens its builtins by name: loading them first lets it find them.
        ctypes.CDLL(str(next((nvidia / "cuda_nvrtc" / "lib").glob("libnvrtc-builtins.so*"))), ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(nvidia / "cuda_nvrtc" / "lib" / "libnvrtc.so.12"))
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.lib, f"nvrtcGet{what}")(program, buffer)
        return buffer.value.decode()

    def compile(self, stem, arch):
        source = (KERNELS / stems()[stem]).read_bytes()
        program = ctypes.c_void_p()
        self.lib.nvrtcCreateProgram(ctypes.byref(program), source, f"{stem}.cu".encode(), 0, None, None)
        flags = [*options(arch), f"--include-path={KERNELS}", f"--include-path={self.include}"]
        array = (ctypes.c_char_p * len(flags))(*[f.encode() for f in flags])
        result = self.lib.nvrtcCompileProgram(program, len(flags), array)
        log = self.text(program, "ProgramLog").strip()
        if log:
            print(log, file=sys.stderr)
        if result != 0:
            sys.exit(f"{stem}.cu for {arch}: {self.lib.nvrtcGetErrorString(result).decode()}")
        return f"// pronk kernels: sha256 {source_hash(stem, arch)}\n" + compact(self.text(program, "PTX"))


def compact(ptx):
    """Without comments, blank lines and padding: a third fewer bytes, and no build number to differ."""
    lines = (" ".join(re.sub(r"//.*$", "", line).split()) for line in ptx.splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def assemble(nvidia, stems):
    """Rows (entry, target, registers, shared, stack, spill stores, spill loads) of all PTX, and the packed machine code of each stem."""
    work = [(PTX / f"{stem}.{arch}.ptx", target) for stem in stems for arch, target in TARGETS]
    with ThreadPoolExecutor(os.cpu_count()) as pool, tempfile.TemporaryDirectory() as folder:
        rows = list(pool.map(lambda pair: assembled(nvidia, *pair, pathlib.Path(folder)), work))
        cubins = {stem: packed(stem, pathlib.Path(folder)) for stem in stems}
    return sorted(row for some in rows for row in some), cubins


def packed(stem, folder):
    """A line with the hash of both PTX texts and a line `<target> <bytes>` of each target, a blank line, the cubins; as LZMA."""
    ptx = b"".join((PTX / f"{stem}.{arch}.ptx").read_bytes() for arch in ARCHS)
    cubins = [(target, (folder / f"{stem}.{target}.cubin").read_bytes()) for _, target in TARGETS]
    head = [hashlib.sha256(ptx).hexdigest(), *(f"{target} {len(cubin)}" for target, cubin in cubins)]
    text = "".join(f"{line}\n" for line in [*head, ""]).encode() + b"".join(cubin for _, cubin in cubins)
    return lzma.compress(text, format=lzma.FORMAT_ALONE, preset=6)


def assembled(nvidia, path, target, folder):
    """The rows of one file from ptxas -v. Leaves its machine code in `folder`."""
    cubin = folder / f"{path.name.split('.')[0]}.{target}.cubin"
    command = [nvidia / "cuda_nvcc" / "bin" / "ptxas", "-v", f"-arch={target}", "-o", cubin, path]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"ptxas {path.name} for {target}:\n{done.stderr}")
    pattern = (
        r"Compiling entry function '(\w+)' for .*\n.*Function properties for \w+\n"
        r"\s*(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\n"
        r".*Used (\d+) registers(?:, used \d+ barriers)?(?:.*?(\d+) bytes smem)?"
    )
    found = re.findall(pattern, done.stderr)
    if len(found) != path.read_text().count(".visible .entry"):
        sys.exit(f"ptxas {path.name} for {target}: output not understood:\n{done.stderr}")
    return [
        (entry, target, int(registers), int(shared or 0), int(stack), int(stores), int(loads))
        for entry, stack, stores, loads, registers, shared in found
    ]


def table(rows):
    head = [
        "# What each kernel takes, as ptxas says (written by kernels/build.py)",
        "",
        "Registers per thread; shared memory per block, stack and spills per thread in bytes.",
        "",
        "| entry | target | registers | shared | stack | spilled |",
        "|---|---|--:|--:|--:|--:|",
    ]
    body = [f"| {e} | {t} | {r} | {sh} | {st} | {ss + sl} |" for e, t, r, sh, st, ss, sl in rows]
    return "\n".join(head + body) + "\n"


def main(mode, *only):
    nvidia = tools()
    nvrtc = Nvrtc(nvidia)
    everything = sorted(stems())
    PTX.mkdir(exist_ok=True)
    if mode not in ("build", "check"):
        sys.exit(__doc__)
    stale = []

    def compile(stem, arch):
        path = PTX / f"{stem}.{arch}.ptx"
        text = nvrtc.compile(stem, arch)
        if mode == "build":
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda pair: compile(*pair), itertools.product(only or everything, ARCHS)))
    expected = {f"{stem}.{arch}.ptx" for stem in everything for arch in ARCHS}
    for path in PTX.glob("*.ptx"):
        if path.name not in expected:
            if mode == "build":
                path.unlink()
            else:
                stale.append(path.name)
    if stale:
        sys.exit("differs from what the sources give: " + ", ".join(sorted(stale)))

    rows, cubins = assemble(nvidia, everything)
    CUBIN.mkdir(exist_ok=True)
    for stem, cubin in cubins.items():
        path = CUBIN / f"{stem}.lzma"
        if mode == "build":
            path.write_bytes(cubin)
        elif not path.exists() or path.read_bytes() != cubin:
            sys.exit(f"{path.name} differs from what the PTX gives")
    for path in CUBIN.glob("*"):
        if path.name.removesuffix(".lzma") not in cubins:
            if mode == "check":
                sys.exit(f"{path.name} belongs to no kernel")
            path.unlink()
    spilled = [f"{e} ({t})" for e, t, *_, ss, sl in rows if ss + sl > 0]
    record = PTX / "resources.md"
    if mode == "build":
        record.write_text(table(rows))
    elif not record.exists() or record.read_text() != table(rows):
        sys.exit(f"{record.name} differs: registers, shared memory or stack of a kernel changed; build and look at the diff")
    if spilled:
        sys.exit("spills registers: " + ", ".join(spilled))


if __name__ == "__main__":
    main(*(sys.argv[1:] or [""]))
