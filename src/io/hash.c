/* SPDX-License-Identifier: Apache-2.0 */
#include "io/hash.h"

#include <stdio.h>
#include <string.h>

/*
 * Both functions eat blocks. Feeds (data, bytes) to `block` in whole blocks of `size` bytes, of which `waiting` are
 * already in `rest`, and leaves what does not fill one there.
 */
static void feed(void *hash, unsigned char *rest, size_t waiting, size_t size, const unsigned char *data, size_t bytes,
                 void (*block)(void *hash, const unsigned char *data))
{
    if (waiting > 0) {
        size_t part = bytes < size - waiting ? bytes : size - waiting;
        memcpy(rest + waiting, data, part);
        data += part;
        bytes -= part;
        if (waiting + part < size) {
            return;
        }
        block(hash, rest);
    }
    for (; bytes >= size; data += size, bytes -= size) {
        block(hash, data);
    }
    if (bytes > 0) {
        memcpy(rest, data, bytes);
    }
}

/* ---- XXH64 ---- */

static const uint64_t prime1 = 0x9e3779b185ebca87, prime2 = 0xc2b2ae3d27d4eb4f, prime3 = 0x165667b19e3779f9,
                      prime4 = 0x85ebca77c2b2ae63, prime5 = 0x27d4eb2f165667c5;

static uint64_t rotate64(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t little64(const unsigned char *data)
{
    uint64_t x = 0;
    for (int i = 8; i-- > 0;) {
        x = x << 8 | data[i];
    }
    return x;
}

static uint64_t little32(const unsigned char *data)
{
    return (uint64_t)data[0] | (uint64_t)data[1] << 8 | (uint64_t)data[2] << 16 | (uint64_t)data[3] << 24;
}

static uint64_t round64(uint64_t lane, uint64_t word)
{
    return rotate64(lane + word * prime2, 31) * prime1;
}

void ldar_xxh64_begin(struct ldar_xxh64 *hash)
{
    *hash = (struct ldar_xxh64){.lane = {prime1 + prime2, prime2, 0, 0 - prime1}};
}

static void xxh64_block(void *state, const unsigned char *data)
{
    struct ldar_xxh64 *hash = state;
    for (int i = 0; i < 4; i++) {
        hash->lane[i] = round64(hash->lane[i], little64(data + 8 * i));
    }
}

void ldar_xxh64_add(struct ldar_xxh64 *hash, const void *data, size_t bytes)
{
    feed(hash, hash->rest, hash->total % sizeof hash->rest, sizeof hash->rest, data, bytes, xxh64_block);
    hash->total += bytes;
}

uint64_t ldar_xxh64_end(const struct ldar_xxh64 *hash)
{
    const uint64_t *lane = hash->lane;
    uint64_t x = prime5;
    if (hash->total >= sizeof hash->rest) {
        x = rotate64(lane[0], 1) + rotate64(lane[1], 7) + rotate64(lane[2], 12) + rotate64(lane[3], 18);
        for (int i = 0; i < 4; i++) {
            x = (x ^ round64(0, lane[i])) * prime1 + prime4;
        }
    }
    x += hash->total;
    const unsigned char *data = hash->rest, *end = data + hash->total % sizeof hash->rest;
    for (; end - data >= 8; data += 8) {
        x = rotate64(x ^ round64(0, little64(data)), 27) * prime1 + prime4;
    }
    if (end - data >= 4) {
        x = rotate64(x ^ little32(data) * prime1, 23) * prime2 + prime3;
        data += 4;
    }
    for (; data < end; data++) {
        x = rotate64(x ^ *data * prime5, 11) * prime1;
    }
    x = (x ^ x >> 33) * prime2;
    x = (x ^ x >> 29) * prime3;
    return x ^ x >> 32;
}

void ldar_xxh64_text(const struct ldar_xxh64 *hash, char hexadecimal[17])
{
    snprintf(hexadecimal, 17, "%016llx", (unsigned long long)ldar_xxh64_end(hash));
}

void ldar_xxh64_of(const void *data, size_t bytes, char hexadecimal[17])
{
    struct ldar_xxh64 hash;
    ldar_xxh64_begin(&hash);
    ldar_xxh64_add(&hash, data, bytes);
    ldar_xxh64_text(&hash, hexadecimal);
}

/* ---- SHA-256 ---- */

/* The first 32 bits of the fractions of the cube roots of the first 64 primes. */
static const uint32_t roots[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate32(uint32_t x, int bits)
{
    return x >> bits | x << (32 - bits);
}

void ldar_sha256_begin(struct ldar_sha256 *hash)
{
    *hash = (struct ldar_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

static void sha256_block(void *state, const unsigned char *data)
{
    struct ldar_sha256 *hash = state;
    uint32_t w[64];
    for (int i = 0; i < 16; i++) {
        const unsigned char *p = data + 4 * i;
        w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate32(w[i - 15], 7) ^ rotate32(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate32(w[i - 2], 17) ^ rotate32(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t *s = hash->state;
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int i = 0; i < 64; i++) {
        uint32_t choice = (e & f) ^ (~e & g), majority = (a & b) ^ (a & c) ^ (b & c);
        uint32_t t1 = h + (rotate32(e, 6) ^ rotate32(e, 11) ^ rotate32(e, 25)) + choice + roots[i] + w[i];
        uint32_t t2 = (rotate32(a, 2) ^ rotate32(a, 13) ^ rotate32(a, 22)) + majority;
        h = g;
        g = f;
        f = e;
        e = d + t1;
        d = c;
        c = b;
        b = a;
        a = t1 + t2;
    }
    const uint32_t rounds[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) {
        s[i] += rounds[i];
    }
}

void ldar_sha256_add(struct ldar_sha256 *hash, const void *data, size_t bytes)
{
    feed(hash, hash->rest, hash->total % sizeof hash->rest, sizeof hash->rest, data, bytes, sha256_block);
    hash->total += bytes;
}

void ldar_sha256_end(struct ldar_sha256 *hash, char hexadecimal[65])
{
    /* A one bit, zeros up to 8 bytes before a block's end, the length in bits. */
    unsigned char tail[72] = {0x80};
    const uint64_t bits = 8 * hash->total;
    const size_t waiting = hash->total % sizeof hash->rest;
    const size_t padding = (waiting < 56 ? 56 : 120) - waiting;
    for (int i = 0; i < 8; i++) {
        tail[padding + (size_t)i] = (unsigned char)(bits >> (56 - 8 * i));
    }
    ldar_sha256_add(hash, tail, padding + 8);
    for (int i = 0; i < 8; i++) {
        snprintf(hexadecimal + 8 * i, 9, "%08x", (unsigned)hash->state[i]);
    }
}
