#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check-source.py [ROOT | --self-test]: the laws that a script can read off the source.

Place: who may include whom (docs/architecture.md); intrinsics, OpenMP, allocation, the environment and output only
where they belong. Text: the SPDX line, 120 columns, no tab, trailing blank, carriage return or mark of unfinished
work, a line break at the end. Prints FILE:LINE: BREACH for each breach; exit status 1 when there is one.
"""

import re
import sys
import tempfile
from pathlib import Path

STANDARD = set("""assert complex ctype errno fenv float inttypes limits locale math setjmp signal stdalign stdarg
stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype""".split())
POSIX = set("""dirent fcntl fnmatch getopt glob libgen poll pthread pwd sched strings sys/file sys/ioctl sys/mman
sys/resource sys/stat sys/statvfs sys/time sys/types sys/uio sys/utsname sys/wait termios unistd""".split())

# First match rules: folder or file, system headers beside the standard ones, own files (prefixes) that may be included.
INTRINSICS = ["immintrin.h", "arm_neon.h"]
LAW = [
    ("include/", [], ["include/ldar/"]),
    ("src/simd/vec/", INTRINSICS, ["src/simd/"]),
    ("src/simd/special/", INTRINSICS, ["src/simd/"]),
    ("src/simd/cpu.c", ["cpuid.h", "sys/auxv.h", "asm/hwcap.h"], ["src/simd/"]),
    ("src/simd/", [], ["src/simd/"]),
    ("src/io/", ["zip.h", "POSIX"], ["include/ldar/", "src/status.h", "src/io/"]),
    ("src/model/", [], ["include/ldar/", "src/status.h", "src/backend.h", "src/peers.h", "src/io/", "src/model/"]),
    ("src/cpu/", ["omp.h", "oneapi/dnnl/", "cblas.h", "sanitizer/", "POSIX"],
     ["include/ldar/", "src/status.h", "src/backend.h", "src/model/parameters.h", "src/simd/kernels.h",
      "src/simd/cpu.h", "src/simd/isa.def", "src/cpu/"]),
    ("src/peers/", ["dlfcn.h", "POSIX"], ["include/ldar/", "src/status.h", "src/peers.h", "src/peers/"]),
    ("src/mpi/", ["mpi.h"], ["include/ldar/", "src/peers.h", "src/peers/transport.h"]),
    ("src/peers.h", [], ["include/ldar/"]),
    ("src/backend.h", [], ["include/ldar/", "src/model/parameters.h"]),
    ("src/", ["POSIX"], ["include/ldar/", "src/"]),
    ("tools/", ["htslib/", "jansson.h", "lbfgs.h", "zlib.h", "POSIX"], ["include/ldar/", "tools/"]),
    ("tests/api/", ["cmocka.h", "POSIX"], ["include/ldar/", "tests/api/", "tests/kit/", "tests/oracle/"]),
    ("tests/cli/", ["cmocka.h", "POSIX"], ["include/ldar/", "tests/cli/", "tests/kit/"]),
    ("examples/", [], ["include/ldar/"]),
]
SEARCH = ["", "include", "src", "tools", "tests"]

# Pattern, who may, what it breaks. Comments and strings are blanked before matching.
MEMORY_OWNERS = tuple("src/" + name for name in """context.c ops.c train.c cpu/arena.c cpu/backend.c cpu/gemm
cpu/pages.c cpu/peak.c io/atomic_file.c io/pickle.c io/safetensors.c io/torch_zip.c model/gradient_exchange.c
model/gradient_tree.c model/head.c model/load.c model/model.c model/network.c model/parameters.c model/save.c
io/checkpoint mpi/mpi.c peers/collective.c peers/peers.c peers/pulse.c""".split())
PLACES = [
    (r"\b_mm\d*_\w+|\b__m(128|256|512)\w*|\bv(ld|st|fma|add|mul|sub)\d?q?_f32\b|\bfloat32x\d",
     ("src/simd/vec/", "src/simd/special/"), "intrinsics belong in src/simd/vec or src/simd/special"),
    (r"^\s*#\s*pragma\s+omp\b|\bomp_\w+\s*\(", ("src/cpu/",), "OpenMP belongs in src/cpu"),
    (r"\b(malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup|strndup|free|mmap)\s*\(", MEMORY_OWNERS,
     "this file owns no memory"),
    (r"\b(secure_)?getenv\s*\(", ("src/cpu/isa.c", "src/peers/launcher.c"),
     "the environment is read in src/cpu/isa.c and src/peers/launcher.c alone"),
    (r"\b(printf|vprintf|puts|putchar|perror|fprintf|vfprintf|fputs|exit|_exit|abort)\s*\(", (),
     "the library never prints, exits or aborts"),
    (r"__FAST_MATH__|-ffast-math", ("src/simd/",), "fast-math is not for us"),
]
TOOL_PLACES = [PLACES[0], PLACES[1], (PLACES[3][0], (), "the program reads no environment")]

INCLUDE = re.compile(r'^\s*#\s*include\s*(<([^>]+)>|"([^"]+)")')


def blanked(text):
    """The text with comments and literals replaced by spaces, line breaks kept."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
    return token.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def rule_for(path):
    return next((rule for rule in LAW if path.startswith(rule[0])), None)


def system_allowed(name, extra):
    stem = name[:-2] if name.endswith(".h") else name
    if stem in STANDARD or ("POSIX" in extra and stem in POSIX):
        return True
    return any(name == item or (item.endswith("/") and name.startswith(item)) for item in extra)


def resolve(root, path, name):
    """The included file relative to the root, or None when it is none of ours."""
    for folder in [Path(path).parent] + [Path(item) for item in SEARCH]:
        target = (root / folder / name).resolve()
        if target.is_file() and root in target.parents:
            return target.relative_to(root).as_posix()
    return None


def include_breaches(root, path, text):
    rule = rule_for(path)
    if rule is None:
        return
    _, extra, own = rule
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        name = match.group(2) or match.group(3)
        target = resolve(root, path, name)
        if target is not None:
            if not any(target.startswith(item) for item in own):
                yield number, f"{rule[0]} may not include {target}"
        elif match.group(3):
            yield number, f'"{name}" is no file of the project'
        elif not system_allowed(name, extra):
            yield number, f"{rule[0]} may not include <{name}>"


def place_breaches(path, text):
    places = PLACES if path.startswith(("src/", "include/")) else TOOL_PLACES if path.startswith("tools/") else []
    for number, line in enumerate(blanked(text).splitlines(), 1):
        for pattern, owners, breach in places:
            if not path.startswith(tuple(owners) or ("\0",)) and re.search(pattern, line):
                yield number, breach


SPDX = "SPDX-License-Identifier: Apache-2.0"
C = {".c", ".h", ".inl", ".def"}
SOURCE = C | {".py", ".sh", ".cmake", ".awk"}
TEXT = SOURCE | {".md", ".json", ".in", ".txt"}
DOTFILES = {".clang-format", ".editorconfig", ".gitignore"}
SKIP = re.compile(r"(^|/)(\.git|build[^/]*|demo|data|corpus|results|__pycache__)/")
MARKS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"]) + r")\b")


def is_source(path):
    return Path(path).suffix in SOURCE or path.endswith("CMakeLists.txt") or path.startswith(".ci/")


def has_spdx(path, lines):
    if Path(path).suffix in C:
        return lines[0] == f"/* {SPDX} */"
    return f"# {SPDX}" in lines[: 2 if lines[0].startswith("#!") else 1]


def text_breaches(path, text):
    lines = text.split("\n")
    if lines[-1]:
        yield len(lines), "no line break at the end"
    if is_source(path) and not has_spdx(path, lines):
        yield 1, "does not begin with the SPDX line"
    for number, line in enumerate(lines, 1):
        if "\t" in line:
            yield number, "tab"
        if line != line.rstrip():
            yield number, "trailing blank or carriage return"
        if MARKS.search(line):
            yield number, "mark of unfinished work"
        # A line of kernels.def is a record: its length is not a matter of style.
        if is_source(path) and len(line) > 120 and not path.endswith(".def"):
            yield number, f"{len(line)} columns"


def check(root):
    root = Path(root).resolve()
    breaches = []
    for file in sorted(root.rglob("*")):
        path = file.relative_to(root).as_posix()
        text_file = file.suffix in TEXT or file.name in DOTFILES or is_source(path)
        if not file.is_file() or not text_file or SKIP.search(path):
            continue
        text = file.read_bytes().decode("utf-8", "surrogateescape")
        found = list(text_breaches(path, text))
        if file.suffix in C:
            found += [*include_breaches(root, path, text), *place_breaches(path, text)]
        breaches += [f"{path}:{number}: {breach}" for number, breach in sorted(found)]
    return breaches


# For each path what is right, and one breach. The SPDX line stands before both.
SPECIMENS = {
    "src/simd/body/a.inl": ("#include <stdlib.h>\n", "#include <unistd.h>\n"),
    "src/simd/b.c": ("/* _mm256_add_ps */\n", "x = _mm256_add_ps(x, y);\n"),
    "src/cpu/c.c": ("#pragma omp parallel\n", '#include "simd/vec/v.h"\n'),
    "src/model/d.c": ('#include "backend.h"\n', '#include "simd/kernels.h"\n'),
    "src/model/e.c": ("omp();\n", "#pragma omp parallel\n"),
    "src/simd/f.c": ("mallocs();\n", "p = malloc(3);\n"),
    "src/api.c": ('f("getenv(");\n', 'getenv("A");\n'),
    "src/io/g.c": ("snprintf(a, 2, b);\n", 'printf("a");\n'),
    "src/io/h.c": ("#include <zip.h>\n", "#include <htslib/faidx.h>\n"),
    "tools/i.c": ("#include <htslib/faidx.h>\n", '#include "backend.h"\n'),
    "tests/cli/j.c": ("#include <cmocka.h>\n", '#include "backend.h"\n'),
    "src/mpi/s.c": ("#include <mpi.h>\n", "#include <dlfcn.h>\n"),
    "src/peers/t.c": ("#include <dlfcn.h>\n", 'getenv("A");\n'),
    "examples/k.c": ("#include <stdio.h>\n", "#include <zip.h>\n"),
    "scripts/l.py": ("x" * 120 + "\n", "x" * 121 + "\n"),
    "docs/m.md": ("a b\n", "a\tb\n"),
    "docs/n.md": ("a\n", "a \n"),
    "docs/o.md": ("a\n", "a\r\n"),
    "docs/p.md": ("a\n", "a"),
    "docs/q.md": ("to do\n", "TO" + "DO\n"),
    "tools/r.h": ("int r;\n", "\nint r;\n"),
}


def specimen(path, body, wrong):
    if path == "tools/r.h" and wrong:
        return body
    return (f"/* {SPDX} */\n" if Path(path).suffix in C else f"# {SPDX}\n") + body


def self_test():
    for wrong in (0, 1):
        with tempfile.TemporaryDirectory() as folder:
            texts = {path: specimen(path, bodies[wrong], wrong) for path, bodies in SPECIMENS.items()}
            for path in ("src/backend.h", "src/simd/kernels.h", "src/simd/vec/v.h"):
                texts[path] = f"/* {SPDX} */\n"
            for path, text in texts.items():
                Path(folder, path).parent.mkdir(parents=True, exist_ok=True)
                Path(folder, path).write_bytes(text.encode())
            found = {breach.split(":")[0] for breach in check(folder)}
            expected = set(SPECIMENS) if wrong else set()
            if found != expected:
                return [f"self-test: breaches in {sorted(found)}, not in {sorted(expected)}"]
    return []


if __name__ == "__main__":
    argument = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parent.parent)
    result = self_test() if argument == "--self-test" else check(argument)
    print("\n".join(result) or "no breach")
    sys.exit(bool(result))
