# SPDX-License-Identifier: Apache-2.0
# Writes three artificial DNA records as FASTA, the same on every machine: no genome, but with what a genome has.
#   demo_gene    25 kb at 41 % GC with copies of a repeat (lower case), a CA microsatellite, a CpG island and, before
#                it, a promoter with a TATA box and an initiator
#   demo_gap     8 kb with a run of 600 N, as at an unfinished place of an assembly
#   demo_end     a telomere: TTAGGG over and over

# Park and Miller's minimal standard generator: exact in double precision, so that every awk gives the same letters.
function uniform()
{
    state = (state * 16807) % 2147483647
    return state / 2147483647
}

function random_dna(length_, gc,    i, u, text)
{
    for (i = 0; i < length_; i++) {
        u = uniform()
        text = text (u < gc / 2 ? "C" : u < gc ? "G" : u < (1 + gc) / 2 ? "A" : "T")
    }
    return text
}

# A copy of the repeat as evolution leaves it: one letter in ten replaced.
function worn(text,    i, copy)
{
    for (i = 1; i <= length(text); i++)
        copy = copy (uniform() < 0.1 ? random_dna(1, 0.5) : substr(text, i, 1))
    return tolower(copy)
}

function times(text, count,    copies)
{
    while (count-- > 0)
        copies = copies text
    return copies
}

function record(name, text,    i)
{
    print ">" name
    for (i = 1; i <= length(text); i += 60)
        print substr(text, i, 60)
}

BEGIN {
    state = 20260101
    repeat = random_dna(300, 0.6)
    promoter = "GGGCGGGGC" random_dna(20, 0.6) "TATAAAAG" random_dna(22, 0.6) "TCAGTTC"

    for (i = 0; i < 8; i++)
        upstream = upstream random_dna(1200, 0.41) worn(repeat)
    gene = upstream times("CA", 40) random_dna(900, 0.41) promoter random_dna(60, 0.65) times("CG", 30)
    gene = gene random_dna(500, 0.68)
    while (length(gene) < 25000)
        gene = gene random_dna(1500, 0.41) worn(repeat)

    record("demo_gene", substr(gene, 1, 25000))
    record("demo_gap", random_dna(4000, 0.41) times("N", 600) random_dna(3400, 0.41))
    record("demo_end", random_dna(500, 0.45) times("TTAGGG", 250))
}
