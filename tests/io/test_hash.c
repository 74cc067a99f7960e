/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"
#include "io/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Answers of the reference implementations. */
static void test_known(void **state)
{
    static const struct {
        const char *text, *xxh64, *sha256;
    } known[] = {
        {"", "ef46db3751d8e999", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"a", "d24ec4f1a98c6e5b", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
        {"abc", "44bc2cf5ad770999", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"Nobody inspects the spammish repetition", "fbcea83c8a378bf1",
         "031edd7d41651593c5fe5c006fa5752b37fddff7bc4e843aa6af0c950f4b9406"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", NULL,
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct ldar_sha256 sha256;
        char text[65];
        if (known[i].xxh64) {
            ldar_xxh64_of(known[i].text, strlen(known[i].text), text);
            assert_string_equal(text, known[i].xxh64);
        }
        ldar_sha256_begin(&sha256);
        ldar_sha256_add(&sha256, known[i].text, strlen(known[i].text));
        ldar_sha256_end(&sha256, text);
        assert_string_equal(text, known[i].sha256);
    }
}

/* However the data is cut into pieces, the hash is that of the whole. */
static void test_pieces(void **state)
{
    unsigned char data[300];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 37 + 11);
    }
    for (size_t bytes = 0; bytes <= sizeof data; bytes++) {
        char whole[65], pieces[65];
        struct ldar_sha256 sha256;
        ldar_sha256_begin(&sha256);
        ldar_sha256_add(&sha256, data, bytes);
        ldar_sha256_end(&sha256, whole);
        for (size_t piece = 1; piece < 70; piece += 6) {
            struct ldar_xxh64 xxh64;
            char expected[17], got[17];
            ldar_xxh64_begin(&xxh64);
            ldar_sha256_begin(&sha256);
            for (size_t at = 0; at < bytes; at += piece) {
                size_t part = bytes - at < piece ? bytes - at : piece;
                ldar_xxh64_add(&xxh64, data + at, part);
                ldar_sha256_add(&sha256, data + at, part);
            }
            ldar_xxh64_of(data, bytes, expected);
            ldar_xxh64_text(&xxh64, got);
            assert_string_equal(got, expected);
            ldar_sha256_end(&sha256, pieces);
            assert_string_equal(pieces, whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known), cmocka_unit_test(test_pieces)};
    return cmocka_run_group_tests_name("io.hash", tests, NULL, NULL);
}
