# SPDX-License-Identifier: Apache-2.0
# Draws a stretch of a record as SVG: the probability that a token begins at each base, the tokens, and the letters.
#   awk -v name=RECORD -v from=FIRST -v to=LAST -f draw-tokens.awk SEQUENCES.fa PROBABILITIES.bedgraph TOKENS.bed
# FIRST and LAST count from 1. The three files are what `ldar segment` reads and writes.

function text(x, y, anchor, size, fill, content)
{
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\">%s</text>\n", \
        x, y, anchor, size, fill, content
}

function box(x, y, w, h, fill, radius)
{
    printf "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%d\" fill=\"%s\"/>\n", \
        x, y, w, h, radius, fill
}

FNR == 1 { file++ }
/^(#|track)/ { next }

file == 1 && /^>/ { split(substr($0, 2), words, /[ \t\r]/); inside = words[1] == name; next }
file == 1 && inside { sub(/\r$/, ""); letters = letters $0; next }
file == 2 && $1 == name { for (i = $2 + 1; i <= $3; i++) if (i >= from && i <= to) probability[i] = $4; next }
file == 3 && $1 == name && $2 < to && $3 >= from { token_from[++tokens] = $2 + 1; token_to[tokens] = $3 }

END {
    colour["A"] = "#2f855a"; colour["C"] = "#2b6cb0"; colour["G"] = "#b7791f"; colour["T"] = "#c53030"
    left = 46; step = 10; top = 34; tall = 96; row = top + tall + 10
    width = left + (to - from + 1) * step + 14; height = row + 62
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ", \
        width, height, width, height
    print "font-family=\"ui-monospace, Menlo, Consolas, monospace\">"
    box(0, 0, width, height, "#ffffff", 0)
    text(left, 20, "start", 13, "#1a202c", name ":" from "-" to "  probability that a token begins, and the tokens")
    for (level = 0; level <= 2; level++) {
        y = top + tall * (1 - level / 2)
        printf "<path d=\"M%d %.1fH%d\" stroke=\"%s\" stroke-dasharray=\"%s\"/>\n", left, y, width - 14, \
            level == 1 ? "#718096" : "#e2e8f0", level == 1 ? "4 3" : "none"
        text(left - 6, y + 4, "end", 11, "#4a5568", level / 2)
    }
    for (i = from; i <= to; i++) {
        x = left + (i - from) * step
        box(x + 1.5, top + tall * (1 - probability[i]), step - 3, tall * probability[i], \
            probability[i] > 0.5 ? "#6b46c1" : "#cbd5e0", 1)
    }
    for (t = 1; t <= tokens; t++) {
        first = token_from[t] < from ? from : token_from[t]
        last = token_to[t] > to ? to : token_to[t]
        shade = t % 2 ? "#e9d8fd" : "#d6bcfa"
        box(left + (first - from) * step + 0.5, row, (last - first + 1) * step - 1, 20, shade, 4)
    }
    for (i = from; i <= to; i++) {
        letter = toupper(substr(letters, i, 1))
        x = left + (i - from + 0.5) * step
        text(x, row + 15, "middle", 12, letter in colour ? colour[letter] : "#718096", letter)
        if (i % 10 == 0)
            text(x, row + 36, "middle", 10, "#718096", i)
    }
    print "</svg>"
}
