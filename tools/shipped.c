/* SPDX-License-Identifier: Apache-2.0 */
#include "shipped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_MAX_HERE = 4096 };

/* Folders as seen from that of the program: of an installation, then of the build; the build system knows both. */
static const char *const folders[] = {LDAR_SHIPPED_INSTALLED, LDAR_SHIPPED_BUILT};

/* The folder of the running program, through any link to it. 0 where the system does not tell. */
static int program_folder(char folder[PATH_MAX_HERE])
{
    const ssize_t length = readlink("/proc/self/exe", folder, PATH_MAX_HERE - 1);
    if (length <= 0)
        return 0;
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (!slash)
        return 0;
    *slash = '\0';
    return 1;
}

char *shipped_file(const char *name)
{
    char folder[PATH_MAX_HERE], path[2 * PATH_MAX_HERE];
    char *found = NULL;
    if (!program_folder(folder))
        return NULL;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && !found; i++) {
        const int length = snprintf(path, sizeof path, "%s/%s/%s", folder, folders[i], name);
        if (length > 0 && length < (int)sizeof path)
            found = realpath(path, NULL);
    }
    return found;
}

char *shipped_model(void)
{
    return shipped_file(SHIPPED_MODEL);
}
