/* SPDX-License-Identifier: Apache-2.0 */
#include <ldar/model.h>
#include <ldar/tensors.h>

#include "files.h"
#include "io/pickle.h"
#include "io/torch_zip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include <cmocka.h>

/* The folder of make_pt.py's files: the stored ones, or those that it has just made with this machine's PyTorch. */
static char data_folder[900];

static const char *data_file(const char *name)
{
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", data_folder, name);
    return path;
}

/* ---- checkpoints of PyTorch ---- */

static struct ldar_config reference_config(void)
{
    struct ldar_config config;
    struct ldar_error error;
    ldar_tensors *tensors;
    assert_int_equal(ldar_tensors_open(data_file("reference.safetensors"), 0, &tensors, &error), LDAR_OK);
    const char *json = ldar_tensors_metadata(tensors, "config");
    assert_int_equal(ldar_config_parse(json, strlen(json), &config, &error), LDAR_OK);
    ldar_tensors_close(tensors);
    return config;
}

/* The import of a file, saved, is the import of the reference, saved. */
static void expect_reference(const char *name, const struct ldar_config *config)
{
    const char *const from[] = {data_file("reference.safetensors"), data_file(name)};
    struct bytes saved[2];
    for (int i = 0; i < 2; i++) {
        struct ldar_error error;
        ldar_model *model;
        if (ldar_model_import(from[i], i == 0 ? NULL : config, &model, &error) != LDAR_OK
            || ldar_model_save(model, LDAR_F32, scratch("imported"), &error) != LDAR_OK) {
            fail_msg("%s", error.message);
        }
        ldar_model_destroy(model);
        saved[i] = read_file(scratch("imported"));
    }
    assert_int_equal(saved[0].count, saved[1].count);
    assert_memory_equal(saved[0].data, saved[1].data, saved[0].count);
    free(saved[0].data);
    free(saved[1].data);
}

static void test_published(void **state)
{
    struct ldar_config config = reference_config(), other;
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    expect_reference("published.pt", NULL);
    expect_reference("published.pt", &config);
    assert_int_equal(ldar_config_preset("2m", &other, &error), LDAR_OK);
    expect_failure(ldar_model_import(data_file("published.pt"), &other, &model, &error), &error, LDAR_ERROR_CONFIG,
                   "not the one that was given");
}

static void test_views(void **state)
{
    struct ldar_config config = reference_config();
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    expect_reference("views.pt", &config);
    expect_failure(ldar_model_import(data_file("views.pt"), NULL, &model, &error), &error, LDAR_ERROR_CONFIG,
                   "holds no configuration");
}

static void test_legacy(void **state)
{
    struct ldar_error error;
    ldar_model *model;
    (void)state;
    expect_failure(ldar_model_import(data_file("legacy.pt"), NULL, &model, &error), &error, LDAR_ERROR_FORMAT,
                   "before 1.6");
}

/* ---- archives and pickles by hand ---- */

struct part {
    const char *name;
    const void *data;
    size_t bytes;
};

static void make_zip(const char *path, const struct part *parts, size_t count, int method)
{
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    for (size_t i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, parts[i].data, parts[i].bytes, 0);
        zip_int64_t index = zip_file_add(zip, parts[i].name, source, 0);
        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index, method, 0), 0);
    }
    assert_int_equal(zip_close(zip), 0);
}

/* A checkpoint of this pickle and one storage "0" of 64 bytes. */
static enum ldar_status open_pickle(const void *pickle, size_t bytes, struct ldar_torch **torch,
                                    struct ldar_error *error)
{
    static const unsigned char storage[64] = {1, 2, 3};
    const struct part parts[] = {{"x/data.pkl", pickle, bytes}, {"x/data/0", storage, sizeof storage}};
    make_zip(scratch("made.pt"), parts, 2, ZIP_CM_DEFLATE);
    return ldar_torch_open(scratch("made.pt"), torch, error);
}

static void expect_refusal(const void *pickle, size_t bytes, const char *words)
{
    struct ldar_error error = {LDAR_OK, ""};
    struct ldar_torch *torch = NULL;
    enum ldar_status status = open_pickle(pickle, bytes, &torch, &error);
    if ((status != LDAR_ERROR_FORMAT && status != LDAR_ERROR_TENSOR) || !strstr(error.message, words)) {
        fail_msg("%d \"%s\"; expected \"%s\"", (int)status, error.message, words);
    }
    assert_null(torch);
}

#define P(text) text, sizeof(text) - 1
#define START "\x80\2"
#define STRING(length, text) "X" length "\0\0\0" text

static void test_refused(void **state)
{
    static const struct {
        const char *pickle;
        size_t bytes;
        const char *words;
    } cases[] = {
        /* what would run */
        {P(START "cos\nsystem\n" STRING("\2", "id") "\x85R."), "refers to os.system"},
        {P(START "cposix\nsystem\n" STRING("\2", "id") "\x85R."), "refers to posix.system"},
        {P(START "c__builtin__\neval\n."), "refers to __builtin__.eval"},
        {P(START "cbuiltins\ngetattr\n."), "refers to builtins.getattr"},
        {P(START "ctorch\nload\n."), "refers to torch.load"},
        {P(START "ctorch._utils\n_rebuild_tensor_v2 \n."), "refers to torch._utils._rebuild_tensor_v2 "},
        {P(START "c\n\n."), "refers to ."},
        {P(START "ca\x1b[31m\nb\n."), "refers to a?[31m.b"},
        {P(START "(S'id'\nios\nsystem\n."), "opcode 0x53 ('S')"},
        {P(START "X\2\0\0\0osX\6\0\0\0system\x93."), "opcode 0x93"},
        {P("\x80\4\x95\0\0\0\0\0\0\0\0."), "protocol other than 2"},
        {P(START "cargparse\nNamespace\n)\x81}b" STRING("\1", "a") "R."), "a call of what is no global"},
        {P(START "ctorch\nFloatStorage\n)R."), "a call of a storage type"},
        {P(START "ccollections\nOrderedDict\n]\x85R."), "a dictionary with arguments"},
        {P(START "ccollections\nOrderedDict\n)\x81."), "a class that is no namespace"},
        {P(START "ctorch\nSize\n)R."), "a size without a tuple"},
        {P(START "ctorch._utils\n_rebuild_parameter\n)R."), "a parameter without a tensor"},
        {P(START "ctorch._utils\n_rebuild_tensor_v2\n)R."), "a tensor that is none"},
        {P(START "K\1}b."), "attributes for what is"},
        /* stack, memo, marks */
        {P(START "."), "a value is missing"},
        {P(START "0."), "a value is missing"},
        {P(START "(K\1R."), "a value is missing"},
        {P(START "K\1(0."), "a value is missing"},
        {P(START "K\1(."), "a value is missing"},
        {P(START "t."), "a mark is missing"},
        {P(START "1."), "a mark is missing"},
        {P(START "}(K\1u."), "what is no list or dictionary"},
        {P(START "](K\1K\2u."), "what is no list or dictionary"},
        {P(START "}K\1a."), "what is no list or dictionary"},
        {P(START "(u."), "a value is missing"},
        {P(START "K\1\x87."), "a value is missing"},
        {P(START "h\0."), "never given"},
        {P(START "j\xff\xff\xff\xff."), "never given"},
        {P(START "Nq\1."), "out of order"},
        {P(START "Nr\xff\xff\xff\xff."), "out of order"},
        {P(START "q\0."), "a value is missing"},
        /* lengths */
        {P(START "X\xff\xff\xff\xffshort."), "longer than any checkpoint's"},
        {P(START "X\0\0\x10\0short."), "ends in the middle"},
        {P(START "X\1\0\0\0\0."), "holds NUL"},
        {P(START "\x8a\xff"
                 "12."),
         "ends in the middle"},
        {P(START "c"
                 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
                 "01234567890123456789\nx\n."),
         "a name that is too long"},
        {P(START), "ends in the middle"},
        {P(""), "ends in the middle"},
        {P(START "K\1Q."), "no storage"},
        {P(START "(K\1tQ."), "no storage"},
        /* contents */
        {P(START "K\1."), "it holds no dictionary"},
        {P(START "]."), "it holds no dictionary"},
        {P(START "}" STRING("\5", "model") "K\1s."), "its model is no dictionary"},
        {P(START "}(" STRING("\5", "model") "}" STRING("\6", "config") "]u."), "its config is no dictionary"},
        {P(START "}" STRING("\5", "model") "}" STRING("\1", "w") "K\1ss."), "'w', which is no tensor"},
        {P(START "}" STRING("\1", "w") "K\1s."), "'w', which is no tensor"},
        {P(START "}K\1K\1s."), "'?', which is no tensor"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_refusal(cases[i].pickle, cases[i].bytes, cases[i].words);
    }
}

/* Every opcode outside the list is refused by its number. */
static void test_opcodes(void **state)
{
    static const char known[] = "(.01GJKMNQRX)]abcehjqrstu}\x80\x81\x85\x86\x87\x88\x89\x8a";
    (void)state;
    for (int opcode = 0; opcode < 256; opcode++) {
        unsigned char pickle[] = {0x80, 2, (unsigned char)opcode, '.'};
        char words[32];
        snprintf(words, sizeof words, "opcode 0x%02x", (unsigned)opcode);
        if (!memchr(known, opcode, sizeof known - 1)) {
            expect_refusal(pickle, sizeof pickle, words);
        }
    }
}

/* Small in the archive, endless in memory: each is stopped by a bound. */
static void test_bombs(void **state)
{
    static const struct {
        const char *piece, *words;
        size_t times;
    } bombs[] = {
        {"(", "nested deeper", 100000},
        {"]", "nested deeper or holds more", 100000},
        {"]0", "holds more than any checkpoint", 2000000},
        {"Nq\1", "out of order", 10},
        {"(1", "longer than any checkpoint's", 34000000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bombs / sizeof *bombs; i++) {
        const size_t length = strlen(bombs[i].piece), bytes = 2 + length * bombs[i].times;
        char *pickle = malloc(bytes);
        assert_non_null(pickle);
        memcpy(pickle, START, 2);
        for (size_t k = 0; k < bombs[i].times; k++) {
            memcpy(pickle + 2 + k * length, bombs[i].piece, length);
        }
        expect_refusal(pickle, bytes, bombs[i].words);
        free(pickle);
    }

    /* Config: 24 lists, each of which holds the one before twice; and a list that holds itself. */
    struct bytes laughs = {NULL, 0};
    add_bytes(&laughs, P(START "}(" STRING("\5", "model") "}" STRING("\6", "config") "}(]q\0"));
    for (unsigned char n = 1; n < 25; n++) {
        const unsigned char again[] = {']', 'q', n, '(', 'h', (unsigned char)(n - 1), 'h', (unsigned char)(n - 1), 'e'};
        add_bytes(&laughs, again, sizeof again);
    }
    add_bytes(&laughs, P("1" STRING("\1", "c") "h\x18su."));
    expect_refusal(laughs.data, laughs.count, "larger than any configuration");
    free(laughs.data);
    expect_refusal(P(START "}(" STRING("\5", "model") "}" STRING("\6", "config") "}" STRING("\1", "c") "]q\0h\0asu."),
                   "larger than any configuration");
}

/* ---- tensors by hand ---- */

static void op_string(struct bytes *out, const char *text)
{
    add_text(out, "X");
    add_little(out, strlen(text), 4);
    add_text(out, text);
}

static void op_integer(struct bytes *out, int64_t number)
{
    add_bytes(out, "\x8a\10", 2);
    add_little(out, (uint64_t)number, 8);
}

static void op_tuple(struct bytes *out, const int64_t *numbers, size_t count)
{
    add_text(out, "(");
    for (size_t i = 0; i < count; i++) {
        op_integer(out, numbers[i]);
    }
    add_text(out, "t");
}

struct tensor {
    const char *storage, *key;
    int64_t numel, offset;
    size_t rank, strides;
    int64_t size[10], stride[10];
};

/* {"model": {"w": tensor}} */
static struct bytes tensor_pickle(const struct tensor *tensor)
{
    struct bytes out = {NULL, 0};
    add_bytes(&out, P(START "}"));
    op_string(&out, "model");
    add_text(&out, "}");
    op_string(&out, "w");
    add_text(&out, "ctorch._utils\n_rebuild_tensor_v2\n((");
    op_string(&out, "storage");
    add_text(&out, "ctorch\n");
    add_text(&out, tensor->storage);
    add_text(&out, "\n");
    op_string(&out, tensor->key);
    op_string(&out, "cuda:0");
    op_integer(&out, tensor->numel);
    add_text(&out, "tQ");
    op_integer(&out, tensor->offset);
    op_tuple(&out, tensor->size, tensor->rank);
    op_tuple(&out, tensor->stride, tensor->strides);
    add_bytes(&out, P("\x89"
                      "ccollections\nOrderedDict\n)RtRss."));
    return out;
}

static void test_tensors(void **state)
{
    static const struct {
        struct tensor tensor;
        const char *words;
    } cases[] = {
        {{"FloatStorage", "0", 16, 0, 2, 2, {4, 4}, {4, 1}}, NULL},
        {{"FloatStorage", "0", 16, 1, 2, 2, {3, 4}, {1, 4}}, NULL},
        {{"HalfStorage", "0", 32, 0, 1, 1, {1000}, {0}}, NULL},
        {{"FloatStorage", "0", 16, 15, 0, 0, {0}, {0}}, NULL},
        {{"FloatStorage", "0", 16, 16, 2, 2, {0, 5}, {5, 1}}, NULL},
        {{"FloatStorage", "0", 16, 1, 2, 2, {4, 4}, {4, 1}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 16, 17, 1, 1, {0}, {1}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 16, 0, 1, 1, {17}, {1}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 16, 0, 2, 2, {2, 2}, {INT64_MAX, INT64_MAX}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 16, INT64_MAX, 1, 1, {2}, {INT64_MAX}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 16, 0, 3, 3, {INT64_MAX, INT64_MAX, 4}, {0, 0, 0}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", INT64_MAX, 0, 1, 1, {1}, {1}}, "'w' reaches beyond its storage"},
        {{"FloatStorage", "0", 15, 0, 1, 1, {1}, {1}}, "a storage of another size"},
        {{"FloatStorage", "0", 17, 0, 1, 1, {1}, {1}}, "a storage of another size"},
        {{"DoubleStorage", "0", 16, 0, 1, 1, {1}, {1}}, "a storage of another size"},
        {{"FloatStorage", "1", 16, 0, 1, 1, {1}, {1}}, "has no storage in the archive"},
        {{"FloatStorage", "../data.pkl", 16, 0, 1, 1, {1}, {1}}, "has no storage in the archive"},
        {{"ComplexFloatStorage", "0", 8, 0, 1, 1, {1}, {1}}, "'w' is complex"},
        {{"UntypedStorage", "0", 64, 0, 1, 1, {1}, {1}}, "refers to torch.UntypedStorage"},
        {{"FloatStorage", "0", -1, 0, 1, 1, {1}, {1}}, "no storage"},
        {{"FloatStorage", "0", 16, -1, 1, 1, {1}, {1}}, "a tensor that is none"},
        {{"FloatStorage", "0", 16, 0, 1, 1, {-1}, {1}}, "a tensor that is none"},
        {{"FloatStorage", "0", 16, 0, 1, 1, {1}, {-1}}, "a tensor that is none"},
        {{"FloatStorage", "0", 16, 0, 1, 2, {1}, {1, 1}}, "a tensor that is none"},
        {{"FloatStorage", "0", 16, 0, 9, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}}, "a tensor that is none"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bytes pickle = tensor_pickle(&cases[i].tensor);
        if (cases[i].words) {
            expect_refusal(pickle.data, pickle.count, cases[i].words);
        } else {
            struct ldar_error error;
            struct ldar_torch *torch;
            if (open_pickle(pickle.data, pickle.count, &torch, &error) != LDAR_OK) {
                fail_msg("case %zu: %s", i, error.message);
            }
            struct ldar_tensor tensor = ldar_torch_at(torch, 0);
            unsigned char *values = malloc(tensor.bytes + 1);
            assert_non_null(values);
            assert_int_equal(ldar_torch_read(torch, 0, values, &error), LDAR_OK);
            free(values);
            ldar_torch_close(torch);
        }
        free(pickle.data);
    }
}

/* ---- archives ---- */

static void test_archives(void **state)
{
    static const char pickle[] = START "}" STRING("\5", "model") "}s.";
    struct bytes file = read_file(data_file("published.pt"));
    struct ldar_error error;
    struct ldar_torch *torch;
    ldar_model *model;
    (void)state;
    for (size_t bytes = 4; bytes < file.count; bytes += 997) {
        write_file(scratch("cut.pt"), file.data, bytes);
        enum ldar_status status = ldar_model_import(scratch("cut.pt"), NULL, &model, &error);
        assert_int_not_equal(status, LDAR_OK);
        assert_null(model);
    }
    expect_failure(ldar_torch_open(scratch("cut.pt"), &torch, &error), &error, LDAR_ERROR_FORMAT, "truncated");

    /* One bit of a weight: the archive's checksum tells. */
    ldar_tensors *tensors;
    assert_int_equal(ldar_tensors_open(data_file("reference.safetensors"), 0, &tensors, &error), LDAR_OK);
    struct ldar_tensor weight = ldar_tensors_at(tensors, ldar_tensors_find(tensors, "lm_head.weight"));
    size_t at = 0;
    while (memcmp(file.data + at, weight.data, weight.bytes) != 0) {
        at++;
        assert_true(at + weight.bytes <= file.count);
    }
    ldar_tensors_close(tensors);
    file.data[at + 7] ^= 1;
    write_file(scratch("bit.pt"), file.data, file.count);
    expect_failure(ldar_model_import(scratch("bit.pt"), NULL, &model, &error), &error, LDAR_ERROR_TENSOR, "damaged");
    free(file.data);

    const struct part no_pickle[] = {{"x/readme", "x", 1}, {"x/y/data.pkl", pickle, sizeof pickle - 1}};
    make_zip(scratch("no.pt"), no_pickle, 2, ZIP_CM_STORE);
    expect_failure(ldar_torch_open(scratch("no.pt"), &torch, &error), &error, LDAR_ERROR_FORMAT, "without data.pkl");
    const struct part big[] = {{"x/data.pkl", pickle, sizeof pickle - 1}, {"x/byteorder", "big", 3}};
    make_zip(scratch("big.pt"), big, 2, ZIP_CM_STORE);
    expect_failure(ldar_torch_open(scratch("big.pt"), &torch, &error), &error, LDAR_ERROR_FORMAT, "big-endian");
    if (zip_compression_method_supported(ZIP_CM_BZIP2, 1)) {
        make_zip(scratch("bz.pt"), big, 1, ZIP_CM_BZIP2);
        expect_failure(ldar_torch_open(scratch("bz.pt"), &torch, &error), &error, LDAR_ERROR_FORMAT,
                       "not stored or deflated");
    }
    expect_failure(ldar_torch_open(scratch("absent"), &torch, &error), &error, LDAR_ERROR_IO, "No such file");
}

/* ---- pickles in memory ---- */

struct memory {
    const unsigned char *data;
    size_t at, bytes;
};

static size_t read_memory(void *handle, void *out, size_t bytes)
{
    struct memory *memory = handle;
    size_t part = memory->bytes - memory->at;
    part = part < bytes ? part : bytes;
    memcpy(out, memory->data + memory->at, part);
    memory->at += part;
    return part;
}

static enum ldar_status read_pickle(const unsigned char *data, size_t bytes, struct ldar_error *error)
{
    struct memory memory = {data, 0, bytes};
    const struct ldar_pickle_input input = {read_memory, &memory};
    struct ldar_pickle *pickle;
    enum ldar_status status = ldar_pickle_read("memory", &input, &pickle, error);
    if (!status) {
        char text[4096];
        ldar_pickle_json(ldar_pickle_root(pickle), text, sizeof text);
    }
    ldar_pickle_free(pickle);
    return status;
}

/* Every start of a real pickle ends too early; a changed byte anywhere does no harm. */
static void test_mutations(void **state)
{
    unsigned char data[1 << 16];
    struct ldar_error error;
    uint32_t random = 1;
    (void)state;
    zip_t *zip = zip_open(data_file("published.pt"), ZIP_RDONLY, NULL);
    assert_non_null(zip);
    zip_file_t *file = zip_fopen(zip, "published/data.pkl", 0);
    file = file ? file : zip_fopen(zip, "archive/data.pkl", 0);
    assert_non_null(file);
    zip_int64_t bytes = zip_fread(file, data, sizeof data);
    assert_true(bytes > 1000 && (size_t)bytes < sizeof data);
    zip_fclose(file);
    zip_discard(zip);
    assert_int_equal(read_pickle(data, (size_t)bytes, &error), LDAR_OK);
    for (size_t part = 0; part < (size_t)bytes; part++) {
        expect_failure(read_pickle(data, part, &error), &error, LDAR_ERROR_FORMAT, "ends in the middle");
    }
    for (int i = 0; i < 20000; i++) {
        random = random * 1664525u + 1013904223u;
        size_t at = (random >> 4) % (size_t)bytes;
        unsigned char kept = data[at];
        data[at] = (unsigned char)(random >> 24);
        enum ldar_status status = read_pickle(data, (size_t)bytes, &error);
        assert_true(status == LDAR_OK || status == LDAR_ERROR_FORMAT);
        data[at] = kept;
    }
}

int main(int argc, char **argv)
{
    snprintf(data_folder, sizeof data_folder, "%s", argc > 1 ? argv[1] : source_file("tests/io/data"));
    const struct CMUnitTest fresh[] = {cmocka_unit_test(test_published), cmocka_unit_test(test_views),
                                       cmocka_unit_test(test_legacy)};
    const struct CMUnitTest hostile[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_opcodes),  cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_tensors), cmocka_unit_test(test_archives), cmocka_unit_test(test_mutations),
    };
    int failed = cmocka_run_group_tests_name("io.torch", fresh, NULL, NULL);
    return argc > 1 ? failed : failed + cmocka_run_group_tests_name("io.torch.hostile", hostile, NULL, NULL);
}
