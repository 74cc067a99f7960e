/* SPDX-License-Identifier: Apache-2.0 */
#include "message.h"

#include "interrupt.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double redraw_seconds = 0.2, line_seconds = 30; /* between two bars, and between two lines of a log */

static struct {
    const char *command;
    enum loudness loudness;
    struct {
        int running, terminal, drawn;
        const char *unit;
        char remark[128]; /* empty: the amount is shown */
        double started, shown;
    } progress;
} state = {.loudness = MESSAGES_NORMAL};

void messages_begin(const char *command, enum loudness loudness)
{
    state.command = command;
    state.loudness = loudness;
}

static void hide_bar(void)
{
    if (state.progress.drawn)
        fputs("\r\033[K", stderr);
    state.progress.drawn = 0;
}

/* One line whatever it quotes: control characters, as file names may hold, become '?'. */
static void say(const char *kind, const char *format, va_list arguments)
{
    char line[2048];
    vsnprintf(line, sizeof line, format, arguments);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    hide_bar();
    fprintf(stderr, "ldar%s%s: %s%s\n", state.command ? " " : "", state.command ? state.command : "", kind, line);
}

void say_error(const char *format, ...)
{
    va_list arguments;
    interrupt_settle();
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

void say_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.loudness > MESSAGES_ERRORS)
        say("warning: ", format, arguments);
    va_end(arguments);
}

void say_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.loudness >= MESSAGES_NORMAL)
        say("", format, arguments);
    va_end(arguments);
}

void say_detail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (state.loudness >= MESSAGES_VERBOSE)
        say("", format, arguments);
    va_end(arguments);
}

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- progress ---- */

/* 1234567 as "1.23 M", 12 as "12 ": a unit follows. */
static void format_amount(double amount, char text[32])
{
    static const char *const prefixes[] = {" ", " k", " M", " G", " T"};
    size_t i = 0;
    for (; amount >= 999.5 && i < 4; i++)
        amount /= 1000;
    snprintf(text, 32,
             amount < 9.995 && i > 0   ? "%.2f%s"
             : amount < 99.95 && i > 0 ? "%.1f%s"
                                       : "%.0f%s",
             amount, prefixes[i]);
}

static void format_seconds(double seconds, char text[32])
{
    long whole = (long)(seconds + 0.5);
    if (whole < 60)
        snprintf(text, 32, "%ld s", whole);
    else if (whole < 3600)
        snprintf(text, 32, "%ld:%02ld min", whole / 60, whole % 60);
    else
        snprintf(text, 32, "%ld:%02ld h", whole / 3600, whole / 60 % 60);
}

void progress_begin(const char *unit)
{
    state.progress.running = state.loudness > MESSAGES_QUIET;
    state.progress.terminal = isatty(STDERR_FILENO);
    state.progress.drawn = 0;
    state.progress.unit = unit;
    state.progress.remark[0] = '\0';
    state.progress.started = state.progress.shown = seconds_now();
}

void progress_remark(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(state.progress.remark, sizeof state.progress.remark, format, arguments);
    va_end(arguments);
}

/* With a remark, which takes most of a line. */
static void draw_remark(double fraction, const char *rate, const char *left)
{
    enum { CELLS = 8 };
    char bar[CELLS + 1] = "........";
    const char *unit = state.progress.unit;
    if (!state.progress.terminal) {
        say_note("%s, %s%s/s, %s left", state.progress.remark, rate, unit, left);
        return;
    }
    hide_bar();
    memset(bar, '#', (size_t)(fraction * CELLS));
    fprintf(stderr, "[%s] %s, %s%s/s, %s left", bar, state.progress.remark, rate, unit, left);
    fflush(stderr);
    state.progress.drawn = 1;
}

static void draw(double done, double fraction, double elapsed)
{
    enum { CELLS = 24 };
    char amount[32], rate[32], left[32], bar[CELLS + 1];
    format_amount(done, amount);
    format_amount(done / elapsed, rate);
    int known = fraction > 0 && fraction <= 1;
    if (known)
        format_seconds(elapsed * (1 - fraction) / fraction, left);
    if (known && state.progress.remark[0]) {
        draw_remark(fraction, rate, left);
        return;
    }
    if (!state.progress.terminal) {
        if (known)
            say_note("%s%s, %.0f %%, %s%s/s, %s left", amount, state.progress.unit, 100 * fraction, rate,
                     state.progress.unit, left);
        else
            say_note("%s%s, %s%s/s", amount, state.progress.unit, rate, state.progress.unit);
        return;
    }
    hide_bar();
    if (known) {
        size_t full = (size_t)(fraction * CELLS);
        memset(bar, '.', CELLS);
        memset(bar, '#', full);
        bar[CELLS] = '\0';
        fprintf(stderr, "[%s] %3.0f %%  %s%s  %s%s/s  %s left", bar, 100 * fraction, amount, state.progress.unit, rate,
                state.progress.unit, left);
    } else {
        fprintf(stderr, "%s%s  %s%s/s", amount, state.progress.unit, rate, state.progress.unit);
    }
    fflush(stderr);
    state.progress.drawn = 1;
}

void progress_update(double done, double fraction)
{
    double now = seconds_now();
    if (!state.progress.running
        || now - state.progress.shown < (state.progress.terminal ? redraw_seconds : line_seconds))
        return;
    state.progress.shown = now;
    draw(done, fraction, now - state.progress.started);
}

void progress_end(double done)
{
    char amount[32], rate[32], time[32];
    double elapsed = seconds_now() - state.progress.started;
    if (!state.progress.running)
        return;
    format_amount(done, amount);
    format_amount(elapsed > 0 ? done / elapsed : 0, rate);
    format_seconds(elapsed, time);
    say_note("%s%s in %s, %s%s/s", amount, state.progress.unit, time, rate, state.progress.unit);
    state.progress.running = 0;
}
