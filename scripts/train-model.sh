#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# train-model.sh GENOMES RUN [OPTION...]: repeats the training of the model that ships, models/ldar-2m.safetensors, and
# tells how well it guesses what was held out. GENOMES is a folder with the FASTA files below, in it or in its folders
# genomes/ and human/; models/README.md says what they are. Where RUN is there, its training goes on. The options are
# handed to `ldar pretrain`: -@ and --max-memory change no bit, and with others it is another model. LDAR is the program
# (default build/ldar), MODEL the file to write.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -lt 2 ]; then
    echo "usage: train-model.sh GENOMES RUN [OPTION OF ldar pretrain...]" >&2
    exit 2
fi
genomes=$1
run=$2
shift 2
ldar=${LDAR:-$root/build/ldar}
model=${MODEL:-$root/models/ldar-2m.safetensors}

file() { # NAME
    for folder in "$genomes" "$genomes/genomes" "$genomes/human"; do
        if [ -f "$folder/$1" ]; then
            echo "$folder/$1"
            return
        fi
    done
    echo "train-model: $1 is not in $genomes; models/README.md says what it is" >&2
    return 1
}
budding=$(file S_cerevisiae.R64-1-1.fa.gz)
fission=$(file S_pombe.ASM294v2.fa.gz)
coli=$(file E_coli_K12_MG1655.ASM584v2.fa.gz)
chromosome20=$(file 1kg_chr20_1Mb_z.fa.gz)
lpa=$(file LPA_14haplotypes.fa.gz)
mitochondrion=$(file MT-human.fa.gz)

if [ -d "$run" ]; then
    "$ldar" pretrain --resume "$run" "$@"
else
    "$ldar" pretrain --preset 2m --seed 1 --steps 3000 --warmup 40 --decay-steps 1480 --batch 4 --accumulate 1 \
        --window 4096 --validate-every 250 --validation-windows 96 --checkpoint-every 100 \
        --hold-out S_cerevisiae.R64-1-1.fa.gz:XV --hold-out S_cerevisiae.R64-1-1.fa.gz:XVI \
        --hold-out S_pombe.ASM294v2.fa.gz:III --hold-out z:450001-550000 \
        "$budding:2" "$fission:2" "$coli:0.5" "$chromosome20" "$lpa:0.1" "$mitochondrion" -o "$run" "$@"
fi
"$ldar" convert "$run/model.safetensors" --dtype bf16 -o "$model"

evaluate() { # TITLE FILE REGION...
    title=$1
    shift
    echo "== $title, masks as in training"
    "$ldar" evaluate -q -m "$model" --mlm "$@"
    echo "== $title, all that is guessed hidden"
    "$ldar" evaluate -q -m "$model" --mlm "$@" --mask-all
}
evaluate "S. cerevisiae XV and XVI" "$budding" -r XV -r XVI
evaluate "S. pombe III" "$fission" -r III
evaluate "human chr20, 100 kb" "$chromosome20" -r z:450001-550000
