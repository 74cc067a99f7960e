# SPDX-License-Identifier: Apache-2.0
"""Man pages and completion, which come from the tables of options."""

import re
import shutil
import subprocess

import program
from program import COMMANDS, Case


class Manual(Case):
    def setUp(self):
        super().setUp()
        self.ok("--man-pages", ".")

    def options(self, command):
        text = self.ok(command, "--help").stdout.decode()
        return re.findall(r"^  (?:-., |    )--([a-z-]+)", text, re.MULTILINE)

    def test_pages_hold_every_option(self):
        self.assertEqual(
            sorted(p.name for p in self.folder.glob("*.1")), sorted(["ldar.1"] + [f"ldar-{c}.1" for c in COMMANDS])
        )
        for command in COMMANDS:
            page = (self.folder / f"ldar-{command}.1").read_text()
            options = self.options(command)
            self.assertIn("help", options)
            for option in options:
                self.assertRegex(page, rf"\n\.It .*Fl Fl {option}\b")

    @program.unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed")
    def test_lint(self):
        for page in sorted(self.folder.glob("*.1")):
            lint = subprocess.run(["mandoc", "-Tlint", "-W", "warning", page.name], capture_output=True, text=True)
            self.assertEqual((lint.returncode, lint.stdout + lint.stderr), (0, ""))

    @program.unittest.skipUnless(shutil.which("bash"), "bash is not installed")
    def test_completion(self):
        def complete(*words):
            script = (
                "set -u; source ./ldar.bash; "
                f"COMP_WORDS=({' '.join(repr(w) for w in words)}); COMP_CWORD={len(words) - 1}; COMPREPLY=(); _ldar; "
                'printf "%s\\n" "${COMPREPLY[@]}"'
            )
            result = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            return result.stdout.split()

        self.assertEqual(complete("ldar", "em"), ["embed"])
        self.assertEqual(complete("ldar", "embed", "--lay"), ["--layer"])
        self.assertEqual(complete("ldar", "embed", "--layer", "e"), ["encoder"])
        self.assertEqual(complete("ldar", "segment", "-O", "bed"), ["bed", "bedgraph"])
        for command in COMMANDS:
            self.assertEqual(sorted(complete("ldar", command, "--")), sorted("--" + o for o in self.options(command)))
        self.assertIn("ldar.bash", complete("ldar", "embed", "ldar.b"))

    def test_folder_that_is_not_there(self):
        self.fails(1, "none", "--man-pages", "none")


if __name__ == "__main__":
    program.main()
