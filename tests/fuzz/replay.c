/* SPDX-License-Identifier: Apache-2.0 */
/* The stored corpus without libFuzzer: TARGET FOLDER runs the target on every file of the folder. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int replay(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        return 1;
    }
    long bytes = ftell(file);
    /* As large as the file, so that a sanitizer sees the first byte that is read behind its end. */
    uint8_t *data = malloc(bytes > 0 ? (size_t)bytes : 1);
    rewind(file);
    int failed = !data || fread(data, 1, (size_t)bytes, file) != (size_t)bytes;
    fclose(file);
    if (!failed) {
        LLVMFuzzerTestOneInput(data, (size_t)bytes);
    }
    free(data);
    return failed;
}

int main(int argc, char **argv)
{
    DIR *listing = argc == 2 ? opendir(argv[1]) : NULL;
    if (!listing) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    int files = 0, failed = 0;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        if (entry->d_name[0] != '.') {
            failed += replay(argv[1], entry->d_name);
            files++;
        }
    }
    closedir(listing);
    printf("%d files\n", files);
    return failed || files == 0;
}
