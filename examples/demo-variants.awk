# SPDX-License-Identifier: Apache-2.0
# Writes a VCF with a made-up variant at every 800th base of the demo's sequences that is none of N: a transition, and
# every fifth a deletion of two bases.
#   awk -f demo-variants.awk demo/sequences.fa

function variants(    at, ref, alt)
{
    for (at = 800; at + 2 <= length(sequence); at += 800) {
        ref = toupper(substr(sequence, at, at % 4000 == 0 ? 3 : 1))
        if (ref ~ /N/)
            continue
        alt = length(ref) > 1 ? substr(ref, 1, 1) : substr("GTAC", index("ACGT", ref), 1)
        lines[++count] = name "\t" at "\t.\t" ref "\t" alt "\t.\t.\t."
    }
    if (name)
        print "##contig=<ID=" name ",length=" length(sequence) ">"
}

BEGIN { print "##fileformat=VCFv4.2" }
/^>/ { variants(); name = substr($1, 2); sequence = ""; next }
{ sequence = sequence $0 }
END {
    variants()
    print "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    for (i = 1; i <= count; i++)
        print lines[i]
}
