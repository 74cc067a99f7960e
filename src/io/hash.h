/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_IO_HASH_H
#define LDAR_IO_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH64 (github.com/Cyan4973/xxHash, doc/xxhash_spec.md), seed 0: finds damage, at memory speed. */
struct ldar_xxh64 {
    uint64_t lane[4], total;
    unsigned char rest[32]; /* total % 32 bytes wait here */
};
void ldar_xxh64_begin(struct ldar_xxh64 *hash);
void ldar_xxh64_add(struct ldar_xxh64 *hash, const void *data, size_t bytes);
uint64_t ldar_xxh64_end(const struct ldar_xxh64 *hash);
void ldar_xxh64_text(const struct ldar_xxh64 *hash, char hexadecimal[17]);

/* Of one piece. */
void ldar_xxh64_of(const void *data, size_t bytes, char hexadecimal[17]);

/* SHA-256 (FIPS 180-4): names a model. */
struct ldar_sha256 {
    uint32_t state[8];
    uint64_t total;
    unsigned char rest[64]; /* total % 64 bytes wait here */
};
void ldar_sha256_begin(struct ldar_sha256 *hash);
void ldar_sha256_add(struct ldar_sha256 *hash, const void *data, size_t bytes);
void ldar_sha256_end(struct ldar_sha256 *hash, char hexadecimal[65]);

#endif
