/* SPDX-License-Identifier: Apache-2.0 */
#include "io/checkpoint_folder.h"

#include "io/hash.h"
#include "io/json.h"
#include "io/text.h"
#include "status.h"

#include <ldar/file.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char lock_name[] = "lock", manifest_name[] = "manifest.json";
enum { MANIFEST = 4096, HOLDER = 128 };

static enum ldar_status fail(const char *folder, const char *what, struct ldar_error *error)
{
    return ldar_fail(error, LDAR_ERROR_IO, "%s: cannot %s: %s", folder, what, strerror(errno));
}

/* ---- names ---- */

char *ldar_checkpoint_path(const char *folder, const char *name, struct ldar_error *error)
{
    const size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = malloc(bytes);
    if (path) {
        snprintf(path, bytes, "%s/%s", folder, name);
    } else {
        ldar_fail_memory(error, bytes, "a file's name");
    }
    return path;
}

void ldar_checkpoint_file_name(uint64_t step, char name[LDAR_CHECKPOINT_NAME])
{
    snprintf(name, LDAR_CHECKPOINT_NAME, "checkpoint-%llu.safetensors", (unsigned long long)step);
}

/* Digits at *at, without leading zeros unless it is 0; 0 where there are none or too many. */
static int take_number(const char **at, uint64_t *number)
{
    const char *begin = *at;
    for (*number = 0; **at >= '0' && **at <= '9'; ++*at) {
        if (__builtin_mul_overflow(*number, 10, number)
            || __builtin_add_overflow(*number, (uint64_t)(**at - '0'), number)) {
            return 0;
        }
    }
    return *at > begin && (*begin != '0' || *at == begin + 1);
}

static int take_text(const char **at, const char *text)
{
    const size_t length = strlen(text);
    if (strncmp(*at, text, length) != 0) {
        return 0;
    }
    *at += length;
    return 1;
}

enum kind { FOREIGN, CHECKPOINT, TEMPORARY };

static enum kind kind_of(const char *name, uint64_t *step)
{
    const char *at = name;
    uint64_t process, attempt;
    if (!take_text(&at, manifest_name)
        && !(take_text(&at, "checkpoint-") && take_number(&at, step) && take_text(&at, ".safetensors"))) {
        return FOREIGN;
    }
    if (!*at) {
        return *name == 'c' ? CHECKPOINT : FOREIGN;
    }
    const int temporary = take_text(&at, ".tmp.") && take_number(&at, &process) && take_text(&at, ".")
                          && take_number(&at, &attempt) && !*at;
    return temporary ? TEMPORARY : FOREIGN;
}

/* ---- the folder ---- */

static int open_retrying(const char *path, int flags)
{
    int descriptor;
    do {
        descriptor = open(path, flags | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EINTR);
    return descriptor;
}

enum ldar_status ldar_checkpoint_folder_sync(const char *folder, struct ldar_error *error)
{
    int result;
    const int descriptor = open_retrying(folder, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0) {
        return fail(folder, "open the folder", error);
    }
    do {
        result = fsync(descriptor);
    } while (result != 0 && errno == EINTR);
    enum ldar_status status = LDAR_OK;
    if (result != 0 && errno != EINVAL) { /* EINVAL: a file system that cannot sync a folder */
        status = fail(folder, "sync the folder", error);
    }
    close(descriptor);
    return status;
}

enum ldar_status ldar_checkpoint_folder_make(const char *folder, struct ldar_error *error)
{
    if (mkdir(folder, 0777) != 0) {
        return errno == EEXIST ? LDAR_OK : fail(folder, "make the folder", error);
    }
    char *parent = ldar_checkpoint_path(folder, "..", error);
    if (!parent) {
        return LDAR_ERROR_MEMORY;
    }
    enum ldar_status status = ldar_checkpoint_folder_sync(parent, error);
    free(parent);
    return status;
}

/* ---- the lock ---- */

static enum ldar_status fail_locked(const char *folder, int descriptor, struct ldar_error *error)
{
    char holder[HOLDER];
    const ssize_t length = pread(descriptor, holder, sizeof holder - 1, 0);
    holder[length > 0 ? length : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    return ldar_fail(error, LDAR_ERROR_IO, "%s: %s writes checkpoints there already: wait for its end, or end it",
                     folder, *holder ? holder : "another process");
}

/* Says who holds it; that this cannot be written is no reason not to hold it. */
static void sign(int descriptor)
{
    char host[64] = "", text[HOLDER];
    gethostname(host, sizeof host - 1);
    const int length = snprintf(text, sizeof text, "process %ld on %s\n", (long)getpid(), host);
    if (ftruncate(descriptor, 0) == 0 && pwrite(descriptor, text, (size_t)length, 0) != length) {
        (void)!ftruncate(descriptor, 0);
    }
}

static enum ldar_status lock_file(const char *folder, const char *path, int *descriptor, struct ldar_error *error)
{
    int result;
    *descriptor = open_retrying(path, O_RDWR | O_CREAT);
    if (*descriptor < 0) {
        return fail(folder, "open the lock", error);
    }
    do {
        result = flock(*descriptor, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        enum ldar_status status = errno == EWOULDBLOCK ? fail_locked(folder, *descriptor, error)
                                                       : fail(folder, "lock it against a second writer", error);
        close(*descriptor);
        *descriptor = -1;
        return status;
    }
    sign(*descriptor);
    return LDAR_OK;
}

enum ldar_status ldar_checkpoint_lock(const char *folder, int *descriptor, struct ldar_error *error)
{
    *descriptor = -1;
    char *path = ldar_checkpoint_path(folder, lock_name, error);
    if (!path) {
        return LDAR_ERROR_MEMORY;
    }
    enum ldar_status status = lock_file(folder, path, descriptor, error);
    free(path);
    return status;
}

enum ldar_status ldar_checkpoint_lock_check(const char *folder, int descriptor, struct ldar_error *error)
{
    struct stat held, named;
    char *path = ldar_checkpoint_path(folder, lock_name, error);
    if (!path) {
        return LDAR_ERROR_MEMORY;
    }
    const int same = fstat(descriptor, &held) == 0 && stat(path, &named) == 0 && held.st_dev == named.st_dev
                     && held.st_ino == named.st_ino;
    free(path);
    return same ? LDAR_OK
                : ldar_fail(error, LDAR_ERROR_IO,
                            "%s: the folder was removed or replaced while checkpoints are written to it", folder);
}

/* ---- what lies there ---- */

static int append(uint64_t **steps, size_t *count, size_t *capacity, uint64_t step)
{
    if (*count == *capacity) {
        const size_t doubled = *capacity ? 2 * *capacity : 8;
        uint64_t *larger = realloc(*steps, doubled * sizeof *larger);
        if (!larger) {
            return 0;
        }
        *steps = larger;
        *capacity = doubled;
    }
    (*steps)[(*count)++] = step;
    return 1;
}

static enum ldar_status list(const char *folder, DIR *listing, int clean, uint64_t **steps, size_t *count,
                             struct ldar_error *error)
{
    size_t capacity = 0;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(listing)) != NULL; errno = 0) {
        uint64_t step = 0;
        const enum kind kind = kind_of(entry->d_name, &step);
        if (kind == TEMPORARY && clean) {
            unlinkat(dirfd(listing), entry->d_name, 0);
        }
        if (kind == CHECKPOINT && !append(steps, count, &capacity, step)) {
            return ldar_fail_memory(error, 2 * capacity * sizeof step, "a list of checkpoints");
        }
    }
    return errno ? fail(folder, "read the folder", error) : LDAR_OK;
}

enum ldar_status ldar_checkpoint_list(const char *folder, int clean, uint64_t **steps, size_t *count,
                                      struct ldar_error *error)
{
    *steps = NULL;
    *count = 0;
    DIR *listing = opendir(folder);
    if (!listing) {
        return fail(folder, "open the folder", error);
    }
    enum ldar_status status = list(folder, listing, clean, steps, count, error);
    closedir(listing);
    if (status) {
        free(*steps);
        *steps = NULL;
    }
    return status;
}

/* ---- the manifest ---- */

/* Holds the hash of all before it. */
static const char last_line[] = "\"xxh64\":\"%s\"}\n";
enum { LAST_LINE = sizeof last_line - sizeof "%s" + LDAR_HASH_DIGITS };

static size_t add_manifest(const struct ldar_generation *generation, size_t count, char *out, size_t capacity)
{
    struct ldar_text text = {out, capacity, 0};
    char hash[LDAR_HASH_DIGITS + 1];
    ldar_text_add(&text, "{\"format\":\"ldarnet checkpoints\",\"version\":%d,\"generations\":[\n",
                  LDAR_CHECKPOINT_VERSION);
    for (size_t i = 0; i < count; i++) {
        char name[LDAR_CHECKPOINT_NAME];
        ldar_checkpoint_file_name(generation[i].step, name);
        ldar_text_add(&text, "{\"generation\":%llu,\"step\":%llu,\"file\":\"%s\",\"bytes\":%zu,",
                      (unsigned long long)generation[i].generation, (unsigned long long)generation[i].step, name,
                      generation[i].bytes);
        ldar_text_add(&text, "\"header\":\"%s\"}%s\n", generation[i].hash, i + 1 < count ? "," : "],");
    }
    ldar_xxh64_of(out, text.length, hash);
    ldar_text_add(&text, last_line, hash);
    return text.length;
}

enum ldar_status ldar_manifest_write(const char *folder, const struct ldar_generation *generation, size_t count,
                                     struct ldar_error *error)
{
    char text[MANIFEST];
    ldar_file *file;
    char *path = ldar_checkpoint_path(folder, manifest_name, error);
    if (!path) {
        return LDAR_ERROR_MEMORY;
    }
    enum ldar_status status = ldar_file_create(path, &file, error);
    free(path);
    if (status) {
        return status;
    }
    status = ldar_file_write(file, text, add_manifest(generation, count, text, sizeof text), error);
    if (status) {
        ldar_file_abandon(file);
        return status;
    }
    return ldar_file_commit(file, error);
}

/* The first `capacity` bytes; -1 with errno when they cannot be read. */
static ssize_t read_whole(const char *path, char *out, size_t capacity)
{
    size_t used = 0;
    ssize_t got = 1;
    const int descriptor = open_retrying(path, O_RDONLY | O_NONBLOCK);
    if (descriptor < 0) {
        return -1;
    }
    while (got != 0 && used < capacity) {
        got = read(descriptor, out + used, capacity - used);
        if (got < 0 && errno != EINTR) {
            break;
        }
        used += got > 0 ? (size_t)got : 0;
    }
    const int reason = errno;
    close(descriptor);
    errno = reason;
    return got < 0 && errno != EINTR ? -1 : (ssize_t)used;
}

static int member_number(const struct ldar_json *object, const char *key, uint64_t *number)
{
    struct ldar_json value;
    return ldar_json_member(object, key, &value) && ldar_json_integer(&value, number);
}

static int parse_manifest(const char *text, size_t bytes, struct ldar_generation *newest)
{
    char hash[LDAR_HASH_DIGITS + 1], last[LAST_LINE + 1];
    const struct ldar_json whole = {text, text, text + bytes, NULL};
    struct ldar_json json = whole, generations;
    if (bytes < LAST_LINE || !ldar_json_skip(&json)) {
        return 0;
    }
    ldar_xxh64_of(text, bytes - LAST_LINE, hash);
    snprintf(last, sizeof last, last_line, hash);
    return memcmp(text + bytes - LAST_LINE, last, LAST_LINE) == 0
           && ldar_json_member(&whole, "generations", &generations) && ldar_json_take(&generations, '[')
           && member_number(&generations, "generation", &newest->generation)
           && member_number(&generations, "step", &newest->step);
}

enum ldar_status ldar_manifest_read(const char *folder, struct ldar_generation *newest, struct ldar_error *error)
{
    char text[MANIFEST];
    enum ldar_status status = LDAR_OK;
    *newest = (struct ldar_generation){0};
    char *path = ldar_checkpoint_path(folder, manifest_name, error);
    if (!path) {
        return LDAR_ERROR_MEMORY;
    }
    const ssize_t bytes = read_whole(path, text, sizeof text);
    if (bytes < 0 && errno != ENOENT) {
        status = fail(path, "read", error);
    } else if (bytes >= 0 && !parse_manifest(text, (size_t)bytes, newest)) {
        *newest = (struct ldar_generation){0};
        status = ldar_fail(error, LDAR_ERROR_FORMAT, "%s: damaged, not used", path);
    }
    free(path);
    return status;
}
