#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# demo.sh: installs what is missing, builds build/ldar, and lets the model that ships turn an artificial FASTA file into
# learned tokens, boundary probabilities, embeddings and logits in demo/. Run it again as often as you like.
set -eu
cd "$(dirname "$0")/.."

sh scripts/setup.sh build
mkdir -p demo
echo "== building build/ldar"
if ! { cmake -S . -B build -G Ninja && cmake --build build --target ldar_program; } >demo/build.log 2>&1; then
    tail -n 40 demo/build.log >&2
    exit 1
fi

run() {
    echo "\$ $*"
    "$@"
}
cd demo
ldar=../build/ldar
awk -f ../examples/demo-sequences.awk >sequences.fa
awk -v part=train -f ../examples/demo-table.awk sequences.fa >train.csv
awk -v part=test -f ../examples/demo-table.awk sequences.fa >test.csv
awk -f ../examples/demo-variants.awk sequences.fa >variants.vcf
rm -rf around classifier

echo "== tokens, embeddings, logits; results in demo/"
run $ldar segment sequences.fa -O bed -o tokens.bed
run $ldar segment sequences.fa -O bedgraph -o boundaries.bedgraph
run $ldar embed sequences.fa --pool mean -o embeddings.npy
run $ldar logits sequences.fa -o logits.npy
run $ldar profile -f sequences.fa --motif TATA=TATAAAAG --locus demo_gene:11361-11450 -o around
echo "== a classifier from a table"
run $ldar finetune --freeze --train train.csv --test test.csv -o classifier
run $ldar predict -m classifier/model.safetensors sequences.fa -o classes.tsv
echo "== variant effects, and every base as tracks"
run $ldar score -f sequences.fa variants.vcf -o scored.vcf
run $ldar scan -f sequences.fa -r demo_end -o tracks

tokens=$(grep -vc '^[#t]' tokens.bed)
bases=$(grep -v '^>' sequences.fa | tr -d '\n' | wc -c)
cat <<END

Done, by models/ldar-2m.safetensors: 2 million parameters, trained on two yeasts first of all (models/README.md); -m
takes another model. The sequences are made up: the results show how the program works, and nothing about a genome.
What lies in demo/:
  sequences.fa         the input: three artificial records, $bases bases, with repeats, a promoter and a run of N
  tokens.bed           $tokens learned tokens, a line each: name, start, end, ., 1000 x the probability of its boundary
  boundaries.bedgraph  the probability of each base that a token begins there; a genome browser shows it
  around/locus.svg     both, drawn along the promoter of the first record; a web browser shows it
  around/report.html   boundary probability around the TATA box, against shuffled sequence
  embeddings.npy       one row per record: the mean of the last hidden states. embeddings.npy.json names the rows
  logits.npy           one row per base: scores of A C G T N [MASK] [PAD]. logits.npy.json says where each record begins
  classifier/          tells stretches of the repeat from others: model.safetensors, test_results.json, report.html
  classes.tsv          what it says of the three records
  scored.vcf           variants.vcf with LDAR_LLR, LDAR_DIST and LDAR_DTOK for each ALT
  tracks.*             the third record, base by base: bigWigs, a table for tabix, tracks.hub.txt for a genome browser
In Python: numpy.load("demo/embeddings.npy"). Next: build/ldar --help
END
