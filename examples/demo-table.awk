# SPDX-License-Identifier: Apache-2.0
# Cuts the demo's sequences into labelled stretches of 100 bases: those of the repeat, which is in lower case, and those
# of what lies between. Every fourth of a class is for the test.
#   awk -f demo-table.awk -v part=train|test demo/sequences.fa

function take(text, label)
{
    if (text ~ /[Nn]/ || seen[label] == 160)
        return
    if ((seen[label]++ % 4 == 3) == (part == "test"))
        print toupper(text) "," label
}

function cut(text,    at)
{
    for (at = 1; at + 99 <= length(text); at += 100) {
        stretch = substr(text, at, 100)
        if (stretch == tolower(stretch))
            take(stretch, "repeat")
        else if (stretch == toupper(stretch))
            take(stretch, "other")
    }
}

BEGIN { print "sequence,label" }
/^>/ { cut(sequence); sequence = ""; next }
{ sequence = sequence $0 }
END { cut(sequence) }
