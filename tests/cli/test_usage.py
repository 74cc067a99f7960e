# SPDX-License-Identifier: Apache-2.0
"""Habits of all commands: options, exit codes, help, errors of the environment."""

import os
import pty
import subprocess

import program
from program import COMMANDS, TINY, Case, environment, run, running_isas, write_fasta


class Usage(Case):
    def test_nothing_at_all(self):
        result = run()
        self.assertEqual(result.returncode, 2)
        for command in COMMANDS:
            self.assertIn(command, result.stderr)

    def test_help(self):
        self.assertIn(b"usage: ldar", self.ok("--help").stdout)
        for command in COMMANDS:
            text = self.ok(command, "--help").stdout.decode()
            self.assertTrue(text.startswith(f"usage: ldar {command} "), text)
            self.assertIn("--quiet", text)
            self.assertLess(max(map(len, text.splitlines())), 130)

    def test_version(self):
        text = self.ok("--version").stdout.decode()
        self.assertRegex(text, r"^ldar \d+\.\d+\.\d+\n$")
        self.assertEqual(self.ok("embed", "--version").stdout.decode(), text)

    def test_unknown_command(self):
        self.fails(2, "unknown command 'emebd'; did you mean 'embed'", "emebd")
        result = self.fails(2, "unknown command 'zzzzzzzz'", "zzzzzzzz")
        for command in COMMANDS:
            self.assertIn(command, result.stderr)

    def test_unknown_option(self):
        self.fails(2, "did you mean --layer", "embed", "--layr", "hidden", "x.fa")
        self.fails(2, "did you mean --window", "embed", "--win=12", "x.fa")
        self.fails(2, "unknown option --zzzzzzzzz", "embed", "--zzzzzzzzz", "x.fa")
        self.fails(2, "unknown option -Z", "embed", "-Z", "x.fa")

    def test_values(self):
        self.fails(2, "--layer.*hidden.encoder.chunks", "embed", "--layer", "outer", "x.fa")
        self.fails(2, "-@/--threads needs a value", "embed", "x.fa", "-@")
        for bad in ["0", "-1", "4097", "x", "", "1.5", "99999999999999999999999"]:
            self.fails(2, r"-@/--threads", "embed", "x.fa", "-@", bad)
        for bad in ["0", "12Q", "K", "", "99999999999T", "-5", "1.5", "1.G", ".5G", "1.2345M", "1.x2M"]:
            self.fails(2, "--max-memory", "embed", "x.fa", "--max-memory", bad)
        for size, mebibytes in (("2048K", 2), ("2.5m", 2), ("0.002G", 2), ("3.0M", 3), ("0.004G", 4)):
            allowed = f"more than the {mebibytes} MiB allowed"
            self.fails(1, allowed, "bench", "-q", "--preset", "2m", "--length", 16, "--max-memory", size)
        self.fails(2, "takes no value", "info", "--json=1")
        self.fails(2, "--length.*commas", "bench", "--length", "12,,13")
        self.fails(2, "--length.*commas", "bench", "--length", "0")

    def test_files(self):
        self.fails(2, "a file is missing", "convert", "-o", "x")
        self.fails(2, "unexpected argument 'b.fa'", "embed", "-m", TINY, "a.fa", "b.fa")
        self.fails(2, "unexpected argument 'x'", "bench", "x")
        self.fails(2, "no input", "embed", "-m", TINY)

    def test_model_that_is_none(self):
        write_fasta("a.fa", [("a", "ACGT")])
        self.fails(1, "none.safetensors", "embed", "-m", "none.safetensors", "a.fa", "-o", "a.npy")
        self.fails(1, "a.fa", "embed", "-m", "a.fa", "a.fa", "-o", "a.npy")

    def test_order_of_options(self):
        write_fasta("-a.fa", [("a", "ACGTACGT")])
        expected = self.ok("segment", "-q", "-m", TINY, "./-a.fa").stdout.splitlines()[1:]
        orders = [
            ["--model=" + str(TINY), "-q", "--", "-a.fa"],
            ["-qm", TINY, "--", "-a.fa"],
            ["-qm" + str(TINY), "-@2", "--", "-a.fa"],
            ["./-a.fa", "--quiet", "--threads=1", "--model", TINY],
        ]
        for order in orders:
            self.assertEqual(self.ok("segment", *order).stdout.splitlines()[1:], expected)

    def test_what_this_build_lacks(self):
        write_fasta("a.fa", [("a", "ACGT")])
        self.fails(1, "no CUDA backend", "embed", "-m", TINY, "a.fa", "--device", "cuda", "-o", "a.npy")
        self.fails(1, "no CUDA backend", "bench", "--device", "cuda")
        self.fails(2, "--dtype.*f32.bf16", "embed", "-m", TINY, "a.fa", "--dtype", "f16", "-o", "a.npy")
        self.fails(2, "--dtype.*f32.bf16", "bench", "--dtype", "f32,int8")

    def test_bf16_on_machines_without_it(self):
        """One line says what is computed instead, unless there is nothing to say."""
        write_fasta("a.fa", [("a", "ACGT")])
        for isa in running_isas():
            env = environment(LDAR_ISA=isa)
            for command in (["embed", "a.fa", "-o", "a.npy"], ["logits", "a.fa", "-o", "a.npy"], ["segment", "a.fa"]):
                run_it = [*command, "-m", TINY, "--dtype"]
                said = self.ok(*run_it, "bf16", env=env).stderr.splitlines()
                lines = [l for l in said if f"{isa} multiplies no bf16: computing in f32" in l]
                self.assertEqual(len(lines), 0 if program.multiplies_bf16(isa) else 1, said)
                self.assertNotIn("bf16", self.ok(*run_it, "f32", env=env).stderr.replace(isa, ""))

    def test_isa_in_the_environment(self):
        write_fasta("a.fa", [("a", "ACGT")])
        for name in ["avx1024", "AVX2", "-", "neon" if "avx2" in program.isas_of_this_machine() else "avx512"]:
            for arguments in (["embed", "-m", TINY, "a.fa", "-o", "a.npy"], ["info"]):
                self.fails(1, name, *arguments, env=environment(LDAR_ISA=name))
        for name in running_isas():
            self.ok("embed", "-m", TINY, "a.fa", "-o", f"{name}.npy", env=environment(LDAR_ISA=name))

    def test_standard_output_is_full(self):
        write_fasta("a.fa", [("a", program.dna(5000))])
        for arguments in (["--help"], ["info"], ["segment", "-q", "-m", str(TINY), "a.fa"]):
            with open("/dev/full", "wb") as full:
                process = subprocess.run(
                    program.PROGRAM + arguments, stdout=full, stderr=subprocess.PIPE, env=environment()
                )
            self.assertEqual(process.returncode, 1, process.stderr)
            self.assertEqual(len(process.stderr.splitlines()), 1, process.stderr)

    def test_loudness(self):
        write_fasta("a.fa", [("a", "ACGT")])
        self.assertEqual(self.ok("embed", "-q", "-m", TINY, "a.fa", "-o", "a.npy").stderr, "")
        self.assertIn("4 nt in", self.ok("embed", "-m", TINY, "a.fa", "-o", "a.npy").stderr)
        self.assertIn("instruction set", self.ok("embed", "-v", "-m", TINY, "a.fa", "-o", "a.npy").stderr)

    def on_terminal(self, *command, **options):
        """What a terminal is sent."""
        terminal, end = pty.openpty()
        with subprocess.Popen([*program.PROGRAM, *command], stderr=end, **options) as process:
            os.close(end)
            shown = b""
            try:
                while data := os.read(terminal, 4096):
                    shown += data
            except OSError:
                pass  # how Linux says that the other end is closed
            os.close(terminal)
        self.assertEqual(process.returncode, 0, shown)
        return shown

    def test_progress_on_a_terminal(self):
        """A bar that is redrawn in place, and taken away at the end; elsewhere no bar."""
        command = ["segment", "-m", str(TINY), "a.fa", "-o", "a.bed", "--window", "1000"]
        slow = environment(LDAR_ISA="scalar")
        for kilobases in (10, 20, 40, 80, 160, 320, 640):  # until it takes long enough for a bar
            write_fasta("a.fa", [("a", program.dna(1000 * kilobases))])
            shown = self.on_terminal(*command, env=slow)
            if b"#" in shown:
                break
        self.assertRegex(shown, rb"\[#*\.*\] +\d+ %.*nt/s.* left")
        self.assertIn(b"%d.0 knt in" % kilobases, shown.rsplit(b"\r\x1b[K", 1)[1])
        self.assertEqual(len(self.ok(*command, env=slow).stderr.splitlines()), 1)


if __name__ == "__main__":
    program.main()
