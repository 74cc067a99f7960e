/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint of more than 4 GiB, nearly all of it zeros: writes of zeros leave holes in the file (the linker routes
 * the library's through here), and its memory is one block, seen over and over.
 */
#include "checkpoints.h"
#include "files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const size_t block = (size_t)64 << 20, blocks = 66; /* 4.125 GiB */

ssize_t __real_write(int file, const void *data, size_t bytes);
ssize_t __wrap_write(int file, const void *data, size_t bytes);

ssize_t __wrap_write(int file, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    const int zeros = bytes >= 4096 && *at == 0 && memcmp(at, at + 1, bytes - 1) == 0;
    if (!zeros) {
        return __real_write(file, data, bytes);
    }
    return lseek(file, (off_t)bytes, SEEK_CUR) < 0 ? -1 : (ssize_t)bytes;
}

/* (blocks * block) bytes that are all the same block. */
static float *make_room(void)
{
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), (off_t)block), 0);
    char *room = mmap(NULL, blocks * block, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(room != MAP_FAILED);
    for (size_t i = 0; i < blocks; i++) {
        void *part = mmap(room + i * block, block, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fileno(file), 0);
        assert_true(part != MAP_FAILED);
    }
    fclose(file);
    return (float *)(void *)room;
}

static void test_large(void **state)
{
    const char *folder = new_folder("checkpoints");
    const size_t numbers = block / sizeof(float);
    struct ldar_checkpoint checkpoint;
    struct ldar_error error;
    struct stat status;
    float *room = make_room(), after[3] = {1, 2, 3}, found[3] = {0};
    struct ldar_checkpoint_tensor tensors[] = {{"weight", "large", 2, {blocks, numbers}, room},
                                               {"weight", "after", 1, {3}, after}};
    (void)state;
    room[numbers / 2] = 4; /* once in each block */
    ldar_checkpoints *checkpoints = open_writer(folder);
    assert_int_equal(ldar_checkpoints_save(checkpoints, 1, "{}", "{}", tensors, 2, 0, &error), LDAR_OK);
    assert_int_equal(stat(step_path(folder, 1), &status), 0);
    assert_true((size_t)status.st_size > blocks * block && blocks * block > (size_t)1 << 32);
    room[numbers / 2] = 0;
    tensors[1].data = found;
    assert_int_equal(ldar_checkpoints_load(checkpoints, tensors, 2, &checkpoint, &error), LDAR_OK);
    assert_int_equal(checkpoint.step, 1);
    assert_true(room[numbers / 2] == 4);
    assert_memory_equal(found, after, sizeof after);

    /* Beyond 4 GiB a single bit is found too. */
    FILE *file = fopen(step_path(folder, 1), "r+b");
    assert_non_null(file);
    assert_int_equal(fseeko(file, -(off_t)(block + 5), SEEK_END), 0);
    assert_int_equal(fputc(1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(ldar_checkpoints_load(checkpoints, tensors, 2, &checkpoint, &error), LDAR_ERROR_FORMAT);
    assert_non_null(strstr(error.message, "'weight.large' does not have its hash"));
    ldar_checkpoints_close(checkpoints);
    munmap(room, blocks * block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests_name("io.checkpoint.large", tests, NULL, NULL);
}
