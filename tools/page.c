/* SPDX-License-Identifier: Apache-2.0 */
#include "page.h"

#include "formats/provenance.h"

#include <ldar/version.h>

#include <string.h>

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n"
    ":root { --ink: #1a1c1e; --faint: #6b7278; --rule: #e3e6e8; --paper: #fff; --first: #0b6e99; --second: #d9480f }\n"
    "@media (prefers-color-scheme: dark) {\n"
    " :root { --ink: #e8eaec; --faint: #9aa1a8; --rule: #33383d; --paper: #16181a; --first: #5cb8e0; --second: #ff9d66 "
    "}\n"
    "}\n"
    "body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;\n"
    " max-width: 860px; padding: 0 1rem }\n"
    "h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 0 }\n"
    "code { color: var(--faint); overflow-wrap: anywhere } div.scroll { overflow-x: auto }\n"
    "table { border-collapse: collapse; margin: 1.2rem 0 } td, th { padding: 0.15rem 1.5rem 0.15rem 0 }\n"
    "th { text-align: left; font-weight: normal; color: var(--faint); vertical-align: bottom }\n"
    "td + td { font-variant-numeric: tabular-nums } svg { display: block; width: 100%; height: auto; margin: 1.2rem 0 "
    "}\n"
    ".chart text { font: 12px system-ui, sans-serif; fill: var(--faint) }\n"
    ".chart text.title { font-size: 14px; fill: var(--ink) }\n"
    ".chart path { fill: none; stroke-linejoin: round } .chart path.grid { stroke: var(--rule) }\n"
    ".chart path.line { stroke: var(--first); stroke-width: 1.5 }\n"
    ".chart path.band { fill: var(--first); opacity: 0.15 }\n"
    ".chart path.marks { stroke: var(--second); stroke-width: 1.5 } .chart circle.marks { fill: var(--second) }\n"
    ".chart tspan.line { fill: var(--first) } .chart tspan.marks { fill: var(--second) }\n"
    "</style>\n";

static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '&':
        return "&amp;";
    case '"':
        return "&quot;";
    default:
        return c < 0x20 || c == 0x7f ? "?" : NULL;
    }
}

enum ldar_status page_escaped(output *page, const char *text, struct ldar_error *error)
{
    enum ldar_status status = LDAR_OK;
    while (*text && status == LDAR_OK) {
        const size_t length = utf8_length(text);
        const char *escape = length > 0 ? escape_of((unsigned char)*text) : "?";
        status = escape ? output_write(page, escape, strlen(escape), error) : output_write(page, text, length, error);
        text += length > 0 ? length : 1;
    }
    return status;
}

enum ldar_status page_begin(output *page, const char *title, const char *command, struct ldar_error *error)
{
    const char *const parts[] = {"<title>", title,    "</title>\n</head>\n<body>\n<h1>", title, "</h1>\n<code>",
                                 command,   "</code>"};
    enum ldar_status status = output_write(page, head, strlen(head), error);
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == LDAR_OK; i++)
        status = i % 2 ? page_escaped(page, parts[i], error) : output_write(page, parts[i], strlen(parts[i]), error);
    return status;
}

enum ldar_status page_end(output *page, struct ldar_error *error)
{
    return output_print(page, error, "<p>ldar %s</p>\n</body>\n</html>\n", ldar_version());
}
