/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* realpath */

#include "run.h"
#include "message.h"

#include "formats/failure.h"
#include "formats/members.h"
#include "formats/output.h"
#include "formats/provenance.h"

#include <ldar/version.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_LINE = 1024 };

static const char options_name[] = "run.json", log_name[] = "log.jsonl";

const struct option option_run = {
    .name = "output",
    .letter = 'o',
    .kind = OPTION_TEXT,
    .argument = "RUN",
    .place = offsetof(struct common, output),
    .help = "The folder of the run, which must not be there yet, or be empty.",
};

const char *run_path(const struct run *run, const char *name, char path[RUN_PATH])
{
    snprintf(path, RUN_PATH, "%s/%s", run->folder, name);
    return path;
}

/* ---- a new folder ---- */

enum ldar_status run_check_new(const char *folder, struct ldar_error *error)
{
    DIR *entries = opendir(folder);
    int other = 0, begun = 0;
    if (!entries)
        return errno == ENOENT ? LDAR_OK : fail(error, LDAR_ERROR_IO, "%s: %s", folder, strerror(errno));
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
        begun |= strcmp(entry->d_name, options_name) == 0;
        other |= strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(entries);
    if (begun)
        return fail(error, LDAR_ERROR_ARGUMENT, "%s holds a run: --resume %s continues it; or name another folder",
                    folder, folder);
    return other ? fail(error, LDAR_ERROR_ARGUMENT, "%s is not empty: name another folder", folder) : LDAR_OK;
}

/* Text that is kept must come back as it is, which JSON allows UTF-8 alone. */
static enum ldar_status write_string(output *out, const char *text, struct ldar_error *error)
{
    char *quoted = quote_json(text);
    enum ldar_status status = LDAR_OK;
    if (!quoted)
        status = fail(error, LDAR_ERROR_MEMORY, "out of memory");
    else if (strstr(quoted, "\\ufffd"))
        status = fail(error, LDAR_ERROR_ARGUMENT,
                      "'%s' is no UTF-8, and could not be kept with the run: rename the file or the folder", text);
    else
        status = output_write(out, quoted, strlen(quoted), error);
    free(quoted);
    return status;
}

static enum ldar_status write_options(output *out, char *const *words, const char *directory, const char *command,
                                      struct ldar_error *error)
{
    enum ldar_status status = output_print(out, error, "{\n \"ldar\": \"%s\",\n \"command\": ", ldar_version());
    if (status == LDAR_OK)
        status = write_string(out, command, error);
    if (status == LDAR_OK)
        status = output_print(out, error, ",\n \"directory\": ");
    if (status == LDAR_OK)
        status = write_string(out, directory, error);
    if (status == LDAR_OK)
        status = output_print(out, error, ",\n \"arguments\": [");
    for (size_t i = 0; words[i] && status == LDAR_OK; i++) {
        status = output_print(out, error, "%s\n  ", i > 0 ? "," : "");
        if (status == LDAR_OK)
            status = write_string(out, words[i], error);
    }
    return status == LDAR_OK ? output_print(out, error, "\n ]\n}\n") : status;
}

static enum ldar_status save_options(const char *path, const struct common *settings, struct ldar_error *error)
{
    char directory[RUN_PATH];
    output *out;
    if (!getcwd(directory, sizeof directory))
        return fail(error, LDAR_ERROR_IO, "the current folder: %s", strerror(errno));
    enum ldar_status status = output_create(path, &out, error);
    if (status != LDAR_OK)
        return status;
    char **words = options_words(settings);
    status = words ? write_options(out, words, directory, settings->command_line, error)
                   : fail(error, LDAR_ERROR_MEMORY, "out of memory");
    options_words_free(words);
    if (status == LDAR_OK)
        return output_commit(out, error);
    output_abandon(out);
    return status;
}

/* Makes the entries of a folder durable; of where a file system cannot, nothing is said. */
static void sync_folder(const char *folder)
{
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        fsync(descriptor);
        close(descriptor);
    }
}

static void sync_parent(const char *folder)
{
    char parent[RUN_PATH];
    snprintf(parent, sizeof parent, "%s", folder);
    char *slash = strrchr(parent, '/');
    if (slash)
        slash[slash == parent] = '\0';
    sync_folder(slash ? parent : ".");
}

/* Fills a folder of another name, which then takes that of the run. */
static enum ldar_status make_folder(const char *folder, const char *temporary, const struct common *settings,
                                    struct ldar_error *error)
{
    char path[RUN_PATH + 16];
    if (mkdir(temporary, 0777) != 0)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be made: %s", folder, strerror(errno));
    snprintf(path, sizeof path, "%s/%s", temporary, options_name);
    enum ldar_status status = save_options(path, settings, error);
    if (status == LDAR_OK && rename(temporary, folder) != 0)
        status = errno == ENOTEMPTY || errno == EEXIST
                     ? fail(error, LDAR_ERROR_ARGUMENT, "%s: another run has begun there meanwhile", folder)
                     : fail(error, LDAR_ERROR_IO, "%s: cannot be made: %s", folder, strerror(errno));
    if (status == LDAR_OK) {
        sync_parent(folder);
    } else {
        unlink(path);
        rmdir(temporary);
    }
    return status;
}

/* ---- opening ---- */

/* What a process that was killed left of the files that are replaced; the lock says that none is at work. */
static void remove_temporaries(const char *folder)
{
    char path[RUN_PATH];
    DIR *entries = opendir(folder);
    if (!entries)
        return;
    for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
        if (strstr(entry->d_name, ".tmp.")
            && snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            unlink(path);
    closedir(entries);
}

static enum ldar_status open_checkpoints(struct run *run, int writes, struct ldar_error *error)
{
    char path[RUN_PATH];
    const enum ldar_status status =
        ldar_checkpoints_open(run_path(run, "checkpoints", path), writes, &run->checkpoints, error);
    if (status == LDAR_OK && writes)
        remove_temporaries(run->folder);
    return status;
}

int run_is_begun(const char *folder)
{
    char path[RUN_PATH];
    return snprintf(path, sizeof path, "%s/%s", folder, options_name) < (int)sizeof path && access(path, F_OK) == 0;
}

enum ldar_status run_open(const char *folder, int writes, struct run *run, struct ldar_error *error)
{
    char path[RUN_PATH];
    *run = (struct run){.folder = realpath(folder, NULL)};
    if (!run->folder)
        return fail(error, LDAR_ERROR_IO, "%s: %s", folder, strerror(errno));
    enum ldar_status status = LDAR_OK;
    if (strlen(run->folder) > RUN_PATH - 256)
        status = fail(error, LDAR_ERROR_ARGUMENT, "%s: the name is too long", folder);
    else if (access(run_path(run, options_name, path), R_OK) != 0)
        status = fail(error, LDAR_ERROR_IO, "%s holds no run: %s: %s", folder, options_name, strerror(errno));
    if (status == LDAR_OK)
        status = open_checkpoints(run, writes, error);
    if (status != LDAR_OK)
        run_close(run);
    return status;
}

enum ldar_status run_create(const char *folder, const struct common *settings, struct run *run,
                            struct ldar_error *error)
{
    char name[RUN_PATH], temporary[RUN_PATH];
    size_t length = strlen(folder);
    *run = (struct run){0};
    while (length > 1 && folder[length - 1] == '/')
        length--;
    snprintf(name, sizeof name, "%.*s", (int)length, folder);
    if (length > RUN_PATH - 256
        || snprintf(temporary, sizeof temporary, "%s.tmp.%ld.0", name, (long)getpid()) >= (int)sizeof temporary)
        return fail(error, LDAR_ERROR_ARGUMENT, "%s: the name is too long", folder);
    const enum ldar_status status = make_folder(name, temporary, settings, error);
    return status == LDAR_OK ? run_open(name, 1, run, error) : status;
}

void run_close(struct run *run)
{
    if (run->log)
        fclose(run->log);
    ldar_checkpoints_close(run->checkpoints);
    options_words_free(run->kept);
    free(run->arguments);
    free(run->command);
    free(run->folder);
    *run = (struct run){0};
}

void run_abandon(struct run *run)
{
    static const char *const names[] = {"run.json", "log.jsonl", "report.html", "checkpoints/lock", "checkpoints", ""};
    char paths[sizeof names / sizeof *names][RUN_PATH];
    const size_t count = sizeof names / sizeof *names;
    for (size_t i = 0; i < count; i++)
        run_path(run, names[i], paths[i]);
    run_close(run);
    for (size_t i = 0; i < count; i++)
        if (unlink(paths[i]) != 0)
            rmdir(paths[i]);
}

/* ---- parts ---- */

enum ldar_status run_make_folders(const char *folder, const char *name, struct ldar_error *error)
{
    char path[RUN_PATH];
    if (snprintf(path, sizeof path, "%s/%s/", folder, name) > RUN_PATH - 256)
        return fail(error, LDAR_ERROR_ARGUMENT, "%s/%s: the name is too long", folder, name);
    for (char *at = path + strlen(folder); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        if (*path && mkdir(path, 0777) != 0 && errno != EEXIST)
            return fail(error, LDAR_ERROR_IO, "%s: cannot be made: %s", path, strerror(errno));
        *at = '/';
    }
    return LDAR_OK;
}

enum ldar_status run_open_part(const struct run *run, const char *name, struct run *part, struct ldar_error *error)
{
    char path[RUN_PATH];
    *part = (struct run){0};
    enum ldar_status status = run_make_folders(run->folder, name, error);
    if (status != LDAR_OK)
        return status;
    snprintf(path, sizeof path, "%s/%s", run->folder, name);
    part->folder = strdup(path);
    if (!part->folder)
        return fail(error, LDAR_ERROR_MEMORY, "out of memory");
    status = open_checkpoints(part, 1, error);
    if (status != LDAR_OK)
        run_close(part);
    return status;
}

void run_tidy(struct run *part, int keep_model)
{
    char folder[RUN_PATH], path[2 * RUN_PATH];
    ldar_checkpoints_close(part->checkpoints);
    part->checkpoints = NULL;
    DIR *entries = opendir(run_path(part, "checkpoints", folder));
    for (struct dirent *entry = entries ? readdir(entries) : NULL; entry; entry = readdir(entries)) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            unlink(path);
    }
    if (entries)
        closedir(entries);
    rmdir(folder);
    if (!keep_model)
        unlink(run_path(part, "model.safetensors", folder));
}

/* ---- the options of a run ---- */

/* They change no bit. */
static int is_free(const char *option, size_t length)
{
    static const char *const free_options[] = {"resume", "threads", "device", "max-memory", "quiet", "verbose"};
    for (size_t i = 0; i < sizeof free_options / sizeof *free_options; i++)
        if (strlen(free_options[i]) == length && strncmp(option, free_options[i], length) == 0)
            return 1;
    return 0;
}

enum exit_status run_check_resume(const struct common *common)
{
    if (common->file_count > 0) {
        say_error("unexpected argument '%s': a run goes on with its own files", common->files[0]);
        return EXIT_USAGE;
    }
    for (size_t i = 0; common->command->options[i]; i++) {
        const char *name = common->command->options[i]->name;
        if (option_given(common, name) && !is_free(name, strlen(name))) {
            say_error(
                "option --%s: with --resume a run goes on with its own options; only threads and memory may differ",
                name);
            return EXIT_USAGE;
        }
    }
    return EXIT_DONE;
}

/* Relative paths are of the folder where the run began; where that is gone, of the current one. */
static void enter(const char *directory)
{
    if (!directory || chdir(directory) != 0)
        say_warning("the folder that the run was started in, %s, cannot be entered: relative paths are taken from here",
                    directory ? directory : "which is not known");
}

/* "--name=value", or the name alone, of an option that may not differ; or a file. */
static int counts(const char *word)
{
    return strncmp(word, "--", 2) != 0
           || (!is_free(word + 2, strcspn(word + 2, "=")) && strncmp(word, "--output=", 9) != 0);
}

static enum ldar_status compare_words(const struct run *run, char *const *kept, char *const *now,
                                      struct ldar_error *error)
{
    for (;;) {
        while (*kept && !counts(*kept))
            kept++;
        while (*now && !counts(*now))
            now++;
        if (!*kept && !*now)
            return LDAR_OK;
        if (!*kept || !*now || strcmp(*kept, *now) != 0)
            return fail(error, LDAR_ERROR_ARGUMENT,
                        "%s was begun with %s, and not with %s: give the options that it was begun with, or name "
                        "another folder",
                        run->folder, *kept ? *kept : "fewer options", *now ? *now : "fewer options");
        kept++;
        now++;
    }
}

enum ldar_status run_check_same(const struct run *run, const struct common *settings, struct ldar_error *error)
{
    char path[RUN_PATH];
    size_t count;
    char *text = members_read(run_path(run, options_name, path), error);
    if (!text)
        return LDAR_ERROR_IO;
    char **kept = member_strings(text, "arguments", &count), **now = options_words(settings);
    const enum ldar_status status = !kept
                                        ? fail(error, LDAR_ERROR_FORMAT, "%s: does not hold the options of a run", path)
                                    : !now ? fail(error, LDAR_ERROR_MEMORY, "out of memory")
                                           : compare_words(run, kept, now, error);
    member_strings_free(kept);
    options_words_free(now);
    free(text);
    return status;
}

enum ldar_status run_settings(struct run *run, const struct command *command, void *settings, struct ldar_error *error)
{
    char path[RUN_PATH];
    size_t count;
    enum ldar_status status = LDAR_OK;
    char *text = members_read(run_path(run, options_name, path), error);
    if (!text)
        return LDAR_ERROR_IO;
    char *directory = member_string(text, "directory");
    run->kept = member_strings(text, "arguments", &count);
    run->arguments = run->kept ? calloc(count + 1, sizeof *run->arguments) : NULL;
    if (!run->arguments) {
        status = fail(error, LDAR_ERROR_FORMAT, "%s: does not hold the options of a run", path);
    } else {
        struct common *common = settings;
        memcpy(run->arguments, run->kept, count * sizeof *run->arguments);
        if (options_parse(command, (int)count, run->arguments, settings) != EXIT_DONE)
            status = fail(error, LDAR_ERROR_FORMAT, "%s: holds options that this ldar does not know", path);
        else
            enter(directory);
        common->command_line = run->command = member_string(text, "command");
    }
    free(directory);
    free(text);
    return status;
}

/* ---- the log ---- */

/* Bytes of the whole lines that are of steps up to `step`. */
static long kept_bytes(FILE *log, uint64_t step)
{
    char line[LOG_LINE + 2];
    double of;
    long bytes = 0;
    while (fgets(line, sizeof line, log)) {
        const size_t length = strlen(line);
        if (line[length - 1] != '\n' || !member_number(line, "step", &of) || of > (double)step)
            break;
        bytes += (long)length;
    }
    return bytes;
}

enum ldar_status run_log_begin(struct run *run, uint64_t step, struct ldar_error *error)
{
    char path[RUN_PATH];
    run->log = fopen(run_path(run, log_name, path), "a+");
    if (!run->log)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    rewind(run->log);
    const long bytes = kept_bytes(run->log, step);
    if (ferror(run->log) || fflush(run->log) != 0 || ftruncate(fileno(run->log), bytes) != 0
        || fseek(run->log, 0, SEEK_END) != 0)
        return fail(error, LDAR_ERROR_IO, "%s: cannot be cut at step %llu: %s", path, (unsigned long long)step,
                    strerror(errno));
    return LDAR_OK;
}

static enum ldar_status fail_log(const struct run *run, struct ldar_error *error)
{
    return fail(error, LDAR_ERROR_IO, "%s/%s: cannot be written: %s", run->folder, log_name, strerror(errno));
}

enum ldar_status run_log(struct run *run, struct ldar_error *error, const char *format, ...)
{
    char line[LOG_LINE];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= LOG_LINE)
        return fail(error, LDAR_ERROR_INTERNAL, "a line of the log is too long; please report it");
    /* Whole lines reach the file, so that whoever follows it reads whole lines. */
    if (fprintf(run->log, "%s\n", line) < 0 || fflush(run->log) != 0)
        return fail_log(run, error);
    return LDAR_OK;
}

enum ldar_status run_log_sync(struct run *run, struct ldar_error *error)
{
    return fsync(fileno(run->log)) == 0 || errno == EINVAL ? LDAR_OK : fail_log(run, error);
}
