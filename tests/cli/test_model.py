# SPDX-License-Identifier: Apache-2.0
"""The file of the model that ships."""

import json
import math
import sys

import program
from program import SHARED, SHIPPED, Case, dna, results_of, write_fasta

YEAST = SHARED / "data" / "genomes" / "S_cerevisiae.R64-1-1.fa.gz"


class Model(Case):
    def test_file(self):
        self.assertLess(SHIPPED.stat().st_size, 5 << 20)
        model = json.loads(self.ok("info", "--json", SHIPPED).stdout)
        self.assertEqual((model["dtype"], model["parameters"]), ("bf16", 2011288))

    def test_found_from_where_the_program_was_built(self):
        write_fasta("a.fa", [("a", dna(3000))])
        named, found = self.ok("segment", "-m", SHIPPED, "a.fa"), self.ok("segment", "a.fa")
        self.assertEqual(results_of(found.stdout), results_of(named.stdout))
        self.assertIn(f"the model that ships: {SHIPPED.resolve()}", found.stderr)

    @program.plain_build_only
    @program.unittest.skipUnless(YEAST.exists(), "the yeast genome is not here")
    def test_it_has_learned(self):
        """Better than knowing nothing, and than counting bases, on a chromosome that it has not seen."""
        region = ["-r", "XV:300001-340960", "--mask-all"]
        row = json.loads(self.ok("evaluate", "-q", "--mlm", YEAST, *region, "-o", "json").stdout)
        self.assertLess(row["loss"], -0.62 * math.log(0.31) - 0.38 * math.log(0.19))
        self.assertTrue(2 < row["ratio_min"] <= row["ratio_max"] < 10)


if __name__ == "__main__":
    if not SHIPPED.exists():
        print(f"skipped: {SHIPPED} is not there")
        sys.exit(77)
    program.main()
