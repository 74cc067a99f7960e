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
awk -f examples/demo-sequences.awk >demo/sequences.fa
echo "== running, results in demo/"
run build/ldar segment demo/sequences.fa -O bed -o demo/tokens.bed
run build/ldar segment demo/sequences.fa -O bedgraph -o demo/boundaries.bedgraph
run build/ldar embed demo/sequences.fa --pool mean -o demo/embeddings.npy
run build/ldar logits demo/sequences.fa -o demo/logits.npy
awk -v name=demo_gene -v from=11360 -v to=11450 -f examples/draw-tokens.awk \
    demo/sequences.fa demo/boundaries.bedgraph demo/tokens.bed >demo/tokens.svg

tokens=$(grep -vc '^[#t]' demo/tokens.bed)
bases=$(grep -v '^>' demo/sequences.fa | tr -d '\n' | wc -c)
cat <<END

Done, by models/ldar-2m.safetensors: 2 million parameters, trained on two yeasts first of all (models/README.md); -m
takes another model. The sequences are made up: the results show how the program works, and nothing about a genome.
What lies in demo/:
  sequences.fa         the input: three artificial records, $bases bases, with repeats, a promoter and a run of N
  tokens.bed           $tokens learned tokens, a line each: name, start, end, ., 1000 x the probability of its boundary
  boundaries.bedgraph  the probability of each base that a token begins there; a genome browser shows it
  tokens.svg           both, drawn along the promoter of the first record; a web browser shows it
  embeddings.npy       one row per record: the mean of the last hidden states. embeddings.npy.json names the rows
  logits.npy           one row per base: scores of A C G T N [MASK] [PAD]. logits.npy.json says where each record begins
In Python: numpy.load("demo/embeddings.npy"). Next: build/ldar --help
END
