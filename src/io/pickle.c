/* SPDX-License-Identifier: Apache-2.0 */
#include "io/pickle.h"

#include "io/text.h"
#include "status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Bounds. A checkpoint of 110 M parameters with its optimiser has a pickle of about 0.4 MB and 1500 tensors, which take
 * 1.5 MB here, and Python writes lists and dictionaries in pieces of 1000.
 */
enum {
    MAX_PICKLE = 64 << 20, /* bytes of pickle */
    MAX_MEMORY = 32 << 20, /* bytes of values */
    MAX_STRING = 1 << 20,
    MAX_STACK = 1 << 16,
    MAX_MARKS = 1000,
    MAX_MEMO = 1 << 20,
    MAX_GLOBAL = 200, /* characters of a module's or a global's name */
    MAX_JSON_DEPTH = 32,
    CHUNK = 1 << 16,
    INPUT = 1 << 12
};

/* ---- globals ---- */

enum meaning {
    REBUILD_TENSOR,    /* (storage, offset, size, stride, ...) */
    REBUILD_PARAMETER, /* (tensor, ...) */
    STORAGE_TYPE,
    ORDERED_DICT,
    SIZE,  /* (tuple) */
    INERT, /* called or not, it becomes an object without contents */
};

struct ldar_global {
    const char *module, *name;
    enum meaning meaning;
    int type; /* of a STORAGE_TYPE */
    size_t element_bytes;
};

#define STORAGE(name, type, bytes) "torch", #name "Storage", STORAGE_TYPE, type, bytes
#define DTYPE(name) "torch", #name, INERT, 0, 0
static const struct ldar_global globals[] = {
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR, 0, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0, 0},
    {"torch._utils", "_rebuild_parameter_with_state", REBUILD_PARAMETER, 0, 0},
    {"collections", "OrderedDict", ORDERED_DICT, 0, 0},
    {"torch", "Size", SIZE, 0, 0},
    {"torch", "device", INERT, 0, 0},
    {"argparse", "Namespace", INERT, 0, 0},
    {"__builtin__", "set", INERT, 0, 0},
    {"builtins", "set", INERT, 0, 0},
    {STORAGE(Double, LDAR_TENSOR_F64, 8)},
    {STORAGE(Float, LDAR_TENSOR_F32, 4)},
    {STORAGE(Half, LDAR_TENSOR_F16, 2)},
    {STORAGE(BFloat16, LDAR_TENSOR_BF16, 2)},
    {STORAGE(Long, LDAR_TENSOR_I64, 8)},
    {STORAGE(Int, LDAR_TENSOR_I32, 4)},
    {STORAGE(Short, LDAR_TENSOR_I16, 2)},
    {STORAGE(Char, LDAR_TENSOR_I8, 1)},
    {STORAGE(Byte, LDAR_TENSOR_U8, 1)},
    {STORAGE(Bool, LDAR_TENSOR_BOOL, 1)},
    {STORAGE(ComplexFloat, -1, 8)},
    {STORAGE(ComplexDouble, -1, 16)},
    {DTYPE(float64)},
    {DTYPE(float32)},
    {DTYPE(float16)},
    {DTYPE(bfloat16)},
    {DTYPE(int64)},
    {DTYPE(int32)},
    {DTYPE(int16)},
    {DTYPE(int8)},
    {DTYPE(uint8)},
    {DTYPE(bool)},
    {DTYPE(complex64)},
    {DTYPE(complex128)},
};

/* ---- the machine ---- */

/* Memory for values: taken piece by piece, given back at once. */
struct chunk {
    struct chunk *next;
    size_t used, bytes;
    _Alignas(16) unsigned char data[];
};

struct ldar_pickle {
    struct chunk *chunks;
    size_t memory;
    const struct ldar_value *root;
};

struct machine {
    struct ldar_pickle *pickle;
    const char *where;
    struct ldar_error *error;
    enum ldar_status status; /* the first failure, which stops everything */

    const struct ldar_pickle_input *input;
    unsigned char buffer[INPUT];
    size_t at, end, consumed; /* consumed: bytes of the pickle before `at` */

    struct ldar_value **stack, **memo;
    size_t stack_used, stack_capacity, memo_used, memo_capacity;
    size_t mark[MAX_MARKS], marks;
};

#define FAIL(machine, ...)                                                                                             \
    ((machine)->status ? (machine)->status                                                                             \
                       : ((machine)->status = ldar_fail((machine)->error, LDAR_ERROR_FORMAT, __VA_ARGS__)))

static int fail(struct machine *machine, const char *what)
{
    FAIL(machine, "%s: pickle byte %zu: %s", machine->where, machine->consumed, what);
    return 0;
}

static int fail_memory(struct machine *machine, size_t bytes)
{
    if (!machine->status) {
        machine->status = ldar_fail_memory(machine->error, bytes, "a pickle");
    }
    return 0;
}

/* Zeroed memory, or NULL. */
static void *take(struct machine *machine, size_t bytes)
{
    struct ldar_pickle *pickle = machine->pickle;
    struct chunk *chunk = pickle->chunks;
    bytes = (bytes + 15) / 16 * 16;
    if (!chunk || bytes > chunk->bytes - chunk->used) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        if (size > MAX_MEMORY - pickle->memory) {
            fail(machine, "it holds more than any checkpoint does");
            return NULL;
        }
        chunk = calloc(1, sizeof *chunk + size);
        if (!chunk) {
            fail_memory(machine, size);
            return NULL;
        }
        chunk->bytes = size;
        chunk->next = pickle->chunks;
        pickle->chunks = chunk;
        pickle->memory += size;
    }
    void *memory = chunk->data + chunk->used;
    chunk->used += bytes;
    return memory;
}

/* ---- input ---- */

static int refill(struct machine *machine)
{
    size_t bytes = machine->input->read(machine->input->handle, machine->buffer, sizeof machine->buffer);
    if (bytes == SIZE_MAX) {
        if (!machine->status) {
            machine->status = ldar_fail(machine->error, LDAR_ERROR_IO, "%s: its pickle cannot be read", machine->where);
        }
        return 0;
    }
    machine->at = 0;
    machine->end = bytes;
    return bytes > 0 ? 1 : fail(machine, "it ends in the middle");
}

static int read_bytes(struct machine *machine, void *out, size_t bytes)
{
    unsigned char *to = out;
    if (bytes > MAX_PICKLE - machine->consumed) {
        return fail(machine, "it is longer than any checkpoint's");
    }
    while (bytes > 0) {
        if (machine->at == machine->end && !refill(machine)) {
            return 0;
        }
        size_t part = machine->end - machine->at;
        part = part < bytes ? part : bytes;
        memcpy(to, machine->buffer + machine->at, part);
        machine->at += part;
        machine->consumed += part;
        to += part;
        bytes -= part;
    }
    return 1;
}

/* An unsigned little-endian number of up to 8 bytes. */
static int read_number(struct machine *machine, size_t bytes, uint64_t *number)
{
    unsigned char raw[8];
    *number = 0;
    if (!read_bytes(machine, raw, bytes)) {
        return 0;
    }
    for (size_t i = bytes; i-- > 0;) {
        *number = *number << 8 | raw[i];
    }
    return 1;
}

/* A line without its end. */
static int read_line(struct machine *machine, char line[MAX_GLOBAL + 1])
{
    for (size_t i = 0; i <= MAX_GLOBAL; i++) {
        if (!read_bytes(machine, &line[i], 1)) {
            return 0;
        }
        if (line[i] == '\n') {
            line[i] = '\0';
            return 1;
        }
    }
    return fail(machine, "a global with a name that is too long");
}

/* ---- stack, memo, containers ---- */

static struct ldar_value *make(struct machine *machine, enum ldar_pickle_kind kind)
{
    struct ldar_value *value = take(machine, sizeof *value);
    if (value) {
        value->kind = kind;
    }
    return value;
}

/* Room for one more pointer in a doubling array. */
static int grow(struct machine *machine, struct ldar_value ***array, size_t used, size_t *capacity, size_t most)
{
    if (used < *capacity) {
        return 1;
    }
    if (used >= most) {
        return fail(machine, "it is nested deeper or holds more than any checkpoint does");
    }
    size_t doubled = *capacity ? 2 * *capacity : 256;
    struct ldar_value **larger = realloc(*array, doubled * sizeof *larger);
    if (!larger) {
        return fail_memory(machine, doubled * sizeof *larger);
    }
    *array = larger;
    *capacity = doubled;
    return 1;
}

static int push(struct machine *machine, struct ldar_value *value)
{
    if (!value || !grow(machine, &machine->stack, machine->stack_used, &machine->stack_capacity, MAX_STACK)) {
        return 0;
    }
    machine->stack[machine->stack_used++] = value;
    return 1;
}

/* Values above the last mark. */
static size_t open_values(const struct machine *machine)
{
    return machine->stack_used - (machine->marks ? machine->mark[machine->marks - 1] : 0);
}

static struct ldar_value *pop(struct machine *machine)
{
    if (open_values(machine) == 0) {
        fail(machine, "a value is missing");
        return NULL;
    }
    return machine->stack[--machine->stack_used];
}

static struct ldar_value *top(struct machine *machine)
{
    struct ldar_value *value = pop(machine);
    if (value) {
        machine->stack_used++;
    }
    return value;
}

/* Takes the last mark away; *values are the *count values above it, which are off the stack but still there. */
static int pop_mark(struct machine *machine, struct ldar_value ***values, size_t *count)
{
    if (machine->marks == 0) {
        return fail(machine, "a mark is missing");
    }
    *count = open_values(machine);
    machine->stack_used -= *count;
    machine->marks--;
    *values = machine->stack_used < machine->stack_capacity ? machine->stack + machine->stack_used : NULL;
    return 1;
}

static int append(struct machine *machine, struct ldar_value *container, struct ldar_value **values, size_t count)
{
    size_t needed = container->items.count + count;
    if (needed > container->items.capacity) {
        size_t capacity = needed < 4 ? 4 : needed + needed / 2;
        struct ldar_value **item = take(machine, capacity * sizeof *item);
        if (!item) {
            return 0;
        }
        if (container->items.count > 0) {
            memcpy(item, container->items.item, container->items.count * sizeof *item);
        }
        container->items.item = item;
        container->items.capacity = capacity;
    }
    if (count > 0) {
        memcpy(container->items.item + container->items.count, values, count * sizeof *values);
    }
    container->items.count = needed;
    return 1;
}

/* A list's or a dictionary's next values, which belong to the container beneath them. */
static int extend(struct machine *machine, enum ldar_pickle_kind kind, struct ldar_value **values, size_t count)
{
    struct ldar_value *container = top(machine);
    if (!container) {
        return 0;
    }
    if (container->kind != kind || (kind == LDAR_PICKLE_DICT && count % 2 != 0)) {
        return fail(machine, "values for what is no list or dictionary");
    }
    return append(machine, container, values, count);
}

static int push_tuple(struct machine *machine, struct ldar_value **values, size_t count)
{
    struct ldar_value *tuple = make(machine, LDAR_PICKLE_TUPLE);
    return tuple && append(machine, tuple, values, count) && push(machine, tuple);
}

static int push_short_tuple(struct machine *machine, size_t count)
{
    if (open_values(machine) < count) {
        return fail(machine, "a value is missing");
    }
    machine->stack_used -= count;
    return push_tuple(machine, count > 0 ? machine->stack + machine->stack_used : NULL, count);
}

static int remember(struct machine *machine, uint64_t index)
{
    struct ldar_value *value = top(machine);
    if (!value) {
        return 0;
    }
    if (index > machine->memo_used) { /* Python numbers them one by one */
        return fail(machine, "a memo number that is out of order");
    }
    if (index == machine->memo_used) {
        if (!grow(machine, &machine->memo, machine->memo_used, &machine->memo_capacity, MAX_MEMO)) {
            return 0;
        }
        machine->memo_used++;
    }
    machine->memo[index] = value;
    return 1;
}

static int recall(struct machine *machine, uint64_t index)
{
    return index < machine->memo_used ? push(machine, machine->memo[index])
                                      : fail(machine, "a memo number that was never given");
}

/* ---- scalars ---- */

static int push_integer(struct machine *machine, enum ldar_pickle_kind kind, int64_t integer)
{
    struct ldar_value *value = make(machine, kind);
    if (value) {
        value->integer = integer;
    }
    return push(machine, value);
}

/* Two's complement of `bytes` bytes; what does not fit 64 bits is an object, since nothing we look for is so large. */
static int push_long(struct machine *machine, size_t bytes)
{
    unsigned char raw[255];
    if (!read_bytes(machine, raw, bytes)) {
        return 0;
    }
    if (bytes > 8) {
        return push(machine, make(machine, LDAR_PICKLE_OBJECT));
    }
    uint64_t number = bytes > 0 && raw[bytes - 1] >= 0x80 ? UINT64_MAX : 0;
    for (size_t i = bytes; i-- > 0;) {
        number = number << 8 | raw[i];
    }
    return push_integer(machine, LDAR_PICKLE_INTEGER, (int64_t)number);
}

static int push_float(struct machine *machine)
{
    unsigned char raw[8]; /* big-endian */
    struct ldar_value *value = make(machine, LDAR_PICKLE_FLOAT);
    if (!value || !read_bytes(machine, raw, sizeof raw)) {
        return 0;
    }
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | raw[i];
    }
    memcpy(&value->number, &bits, sizeof bits);
    return push(machine, value);
}

static int push_string(struct machine *machine)
{
    uint64_t length;
    if (!read_number(machine, 4, &length)) {
        return 0;
    }
    if (length > MAX_STRING) {
        return fail(machine, "a string that is longer than any checkpoint's");
    }
    struct ldar_value *value = make(machine, LDAR_PICKLE_STRING);
    char *string = value ? take(machine, (size_t)length + 1) : NULL;
    if (!string || !read_bytes(machine, string, (size_t)length)) {
        return 0;
    }
    if (memchr(string, '\0', (size_t)length)) {
        return fail(machine, "a string that holds NUL");
    }
    value->string = string;
    return push(machine, value);
}

/* ---- what torch makes ---- */

static int push_global(struct machine *machine)
{
    char module[MAX_GLOBAL + 1], name[MAX_GLOBAL + 1];
    if (!read_line(machine, module) || !read_line(machine, name)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strcmp(module, globals[i].module) == 0 && strcmp(name, globals[i].name) == 0) {
            struct ldar_value *value = make(machine, LDAR_PICKLE_GLOBAL);
            if (value) {
                value->global = &globals[i];
            }
            return push(machine, value);
        }
    }
    FAIL(machine,
         "%s: pickle byte %zu: it refers to %s.%s, which no part of a model is; refused, and nothing was called",
         machine->where, machine->consumed, module, name);
    return 0;
}

static const struct ldar_value *argument(const struct ldar_value *tuple, size_t index, enum ldar_pickle_kind kind)
{
    const struct ldar_value *value = index < tuple->items.count ? tuple->items.item[index] : NULL;
    return value && value->kind == kind ? value : NULL;
}

/* ("storage", type, key, location, count), torch's persistent number of a storage. */
static int push_storage(struct machine *machine)
{
    const struct ldar_value *tuple = pop(machine);
    if (!tuple) {
        return 0;
    }
    if (tuple->kind != LDAR_PICKLE_TUPLE) {
        return fail(machine, "a persistent number that is no storage");
    }
    const struct ldar_value *word = argument(tuple, 0, LDAR_PICKLE_STRING);
    const struct ldar_value *type = argument(tuple, 1, LDAR_PICKLE_GLOBAL);
    const struct ldar_value *key = argument(tuple, 2, LDAR_PICKLE_STRING);
    const struct ldar_value *count = argument(tuple, 4, LDAR_PICKLE_INTEGER);
    if (tuple->items.count != 5 || !word || strcmp(word->string, "storage") != 0 || !type
        || type->global->meaning != STORAGE_TYPE || !key || !count || count->integer < 0) {
        return fail(machine, "a persistent number that is no storage");
    }
    struct ldar_value *value = make(machine, LDAR_PICKLE_STORAGE);
    struct ldar_storage *storage = value ? take(machine, sizeof *storage) : NULL;
    if (!storage) {
        return 0;
    }
    *storage =
        (struct ldar_storage){key->string, type->global->type, type->global->element_bytes, (size_t)count->integer};
    value->storage = storage;
    return push(machine, value);
}

/* A tuple of non-negative integers; returns 0 when it is not, or is longer than LDAR_MAX_RANK. */
static int read_extents(const struct ldar_value *tuple, size_t extents[LDAR_MAX_RANK], size_t *rank)
{
    if (!tuple || tuple->items.count > LDAR_MAX_RANK) {
        return 0;
    }
    *rank = tuple->items.count;
    for (size_t i = 0; i < *rank; i++) {
        const struct ldar_value *extent = argument(tuple, i, LDAR_PICKLE_INTEGER);
        if (!extent || extent->integer < 0) {
            return 0;
        }
        extents[i] = (size_t)extent->integer;
    }
    return 1;
}

static struct ldar_value *make_tensor(struct machine *machine, const struct ldar_value *arguments)
{
    const struct ldar_value *storage = argument(arguments, 0, LDAR_PICKLE_STORAGE);
    const struct ldar_value *offset = argument(arguments, 1, LDAR_PICKLE_INTEGER);
    struct ldar_view view = {0};
    size_t strides;
    if (!storage || !offset || offset->integer < 0
        || !read_extents(argument(arguments, 2, LDAR_PICKLE_TUPLE), view.shape, &view.rank)
        || !read_extents(argument(arguments, 3, LDAR_PICKLE_TUPLE), view.stride, &strides) || strides != view.rank) {
        fail(machine, "a tensor that is none: storage, offset, size and stride expected");
        return NULL;
    }
    view.storage = storage->storage;
    view.offset = (size_t)offset->integer;
    struct ldar_value *value = make(machine, LDAR_PICKLE_TENSOR);
    struct ldar_view *kept = value ? take(machine, sizeof *kept) : NULL;
    if (!kept) {
        return NULL;
    }
    *kept = view;
    value->view = kept;
    return value;
}

/* What Python would get from calling the global. */
static int reduce(struct machine *machine)
{
    const struct ldar_value *arguments = pop(machine), *callee = arguments ? pop(machine) : NULL;
    struct ldar_value *result = NULL;
    if (!callee) {
        return 0;
    }
    if (callee->kind != LDAR_PICKLE_GLOBAL || arguments->kind != LDAR_PICKLE_TUPLE) {
        return fail(machine, "a call of what is no global");
    }
    switch (callee->global->meaning) {
    case REBUILD_TENSOR:
        result = make_tensor(machine, arguments);
        break;
    case REBUILD_PARAMETER:
        if (!argument(arguments, 0, LDAR_PICKLE_TENSOR)) {
            return fail(machine, "a parameter without a tensor");
        }
        result = arguments->items.item[0];
        break;
    case SIZE:
        if (!argument(arguments, 0, LDAR_PICKLE_TUPLE)) {
            return fail(machine, "a size without a tuple");
        }
        result = arguments->items.item[0];
        break;
    case ORDERED_DICT:
        if (arguments->items.count != 0) {
            return fail(machine, "a dictionary with arguments");
        }
        result = make(machine, LDAR_PICKLE_DICT);
        break;
    case INERT:
        result = make(machine, LDAR_PICKLE_OBJECT);
        break;
    case STORAGE_TYPE:
        return fail(machine, "a call of a storage type");
    }
    return push(machine, result);
}

/* cls.__new__(cls): of the globals we know only a namespace is made so. */
static int new_object(struct machine *machine)
{
    const struct ldar_value *arguments = pop(machine), *class = arguments ? pop(machine) : NULL;
    if (!class) {
        return 0;
    }
    if (class->kind != LDAR_PICKLE_GLOBAL || class->global->meaning != INERT) {
        return fail(machine, "an object of a class that is no namespace");
    }
    return push(machine, make(machine, LDAR_PICKLE_OBJECT));
}

/* Attributes of a namespace or a dictionary (a state_dict has _metadata): of no interest. */
static int build(struct machine *machine)
{
    const struct ldar_value *state = pop(machine), *object = state ? top(machine) : NULL;
    if (!object) {
        return 0;
    }
    return object->kind == LDAR_PICKLE_OBJECT || object->kind == LDAR_PICKLE_DICT
               ? 1
               : fail(machine, "attributes for what is neither namespace nor dictionary");
}

/* ---- the opcodes ---- */

enum opcode {
    MARK = '(',
    STOP = '.',
    POP = '0',
    POP_MARK = '1',
    BINFLOAT = 'G',
    BININT = 'J',
    BININT1 = 'K',
    BININT2 = 'M',
    NONE = 'N',
    BINPERSID = 'Q',
    REDUCE = 'R',
    BINUNICODE = 'X',
    EMPTY_TUPLE = ')',
    EMPTY_LIST = ']',
    APPEND = 'a',
    BUILD = 'b',
    GLOBAL = 'c',
    APPENDS = 'e',
    BINGET = 'h',
    LONG_BINGET = 'j',
    BINPUT = 'q',
    LONG_BINPUT = 'r',
    SETITEM = 's',
    TUPLE = 't',
    SETITEMS = 'u',
    EMPTY_DICT = '}',
    PROTO = 0x80,
    NEWOBJ = 0x81,
    TUPLE1 = 0x85,
    TUPLE2 = 0x86,
    TUPLE3 = 0x87,
    NEWTRUE = 0x88,
    NEWFALSE = 0x89,
    LONG1 = 0x8a
};

static int push_mark(struct machine *machine)
{
    if (machine->marks == MAX_MARKS) {
        return fail(machine, "it is nested deeper than any checkpoint");
    }
    machine->mark[machine->marks++] = machine->stack_used;
    return 1;
}

/* Opcodes that end at a mark. */
static int close_mark(struct machine *machine, enum opcode opcode)
{
    struct ldar_value **values;
    size_t count;
    if (!pop_mark(machine, &values, &count)) {
        return 0;
    }
    switch (opcode) {
    case TUPLE:
        return push_tuple(machine, values, count);
    case APPENDS:
        return extend(machine, LDAR_PICKLE_LIST, values, count);
    case SETITEMS:
        return extend(machine, LDAR_PICKLE_DICT, values, count);
    default: /* POP_MARK */
        return 1;
    }
}

/* The last `count` values go to the list or dictionary beneath them. */
static int extend_last(struct machine *machine, enum ldar_pickle_kind kind, size_t count)
{
    if (open_values(machine) < count) {
        return fail(machine, "a value is missing");
    }
    machine->stack_used -= count;
    return extend(machine, kind, machine->stack + machine->stack_used, count);
}

static int fail_opcode(struct machine *machine, unsigned opcode)
{
    FAIL(machine, "%s: pickle byte %zu: opcode 0x%02x ('%c'), which torch.save does not write; refused", machine->where,
         machine->consumed - 1, opcode, opcode > 0x20 && opcode < 0x7f ? (char)opcode : '?');
    return 0;
}

/* Opcodes with a number after them. */
static int step_number(struct machine *machine, unsigned opcode)
{
    const size_t bytes = opcode == BININT || opcode == LONG_BINGET || opcode == LONG_BINPUT ? 4
                         : opcode == BININT2                                                ? 2
                                                                                            : 1;
    uint64_t number;
    if (!read_number(machine, bytes, &number)) {
        return 0;
    }
    switch (opcode) {
    case BININT:
        return push_integer(machine, LDAR_PICKLE_INTEGER, (int32_t)(uint32_t)number);
    case BININT1:
    case BININT2:
        return push_integer(machine, LDAR_PICKLE_INTEGER, (int64_t)number);
    case BINGET:
    case LONG_BINGET:
        return recall(machine, number);
    case BINPUT:
    case LONG_BINPUT:
        return remember(machine, number);
    case LONG1:
        return push_long(machine, (size_t)number);
    default: /* PROTO */
        return number == 2 ? 1 : fail(machine, "a protocol other than 2: save it with torch.save's own default");
    }
}

static int step(struct machine *machine, unsigned opcode)
{
    switch (opcode) {
    case PROTO:
    case BININT:
    case BININT1:
    case BININT2:
    case BINGET:
    case LONG_BINGET:
    case BINPUT:
    case LONG_BINPUT:
    case LONG1:
        return step_number(machine, opcode);
    case NONE:
        return push(machine, make(machine, LDAR_PICKLE_NONE));
    case NEWTRUE:
    case NEWFALSE:
        return push_integer(machine, LDAR_PICKLE_BOOL, opcode == NEWTRUE);
    case BINFLOAT:
        return push_float(machine);
    case BINUNICODE:
        return push_string(machine);
    case MARK:
        return push_mark(machine);
    case TUPLE:
    case APPENDS:
    case SETITEMS:
    case POP_MARK:
        return close_mark(machine, (enum opcode)opcode);
    case POP:
        return pop(machine) != NULL;
    case EMPTY_TUPLE:
    case TUPLE1:
    case TUPLE2:
    case TUPLE3:
        return push_short_tuple(machine, opcode == EMPTY_TUPLE ? 0 : opcode - TUPLE1 + 1);
    case EMPTY_LIST:
        return push(machine, make(machine, LDAR_PICKLE_LIST));
    case EMPTY_DICT:
        return push(machine, make(machine, LDAR_PICKLE_DICT));
    case APPEND:
        return extend_last(machine, LDAR_PICKLE_LIST, 1);
    case SETITEM:
        return extend_last(machine, LDAR_PICKLE_DICT, 2);
    case GLOBAL:
        return push_global(machine);
    case BINPERSID:
        return push_storage(machine);
    case REDUCE:
        return reduce(machine);
    case NEWOBJ:
        return new_object(machine);
    case BUILD:
        return build(machine);
    default:
        return fail_opcode(machine, opcode);
    }
}

static void run(struct machine *machine)
{
    unsigned char opcode;
    while (read_bytes(machine, &opcode, 1)) {
        if (opcode == STOP) {
            machine->pickle->root = pop(machine);
            return;
        }
        if (!step(machine, opcode)) {
            return;
        }
    }
}

enum ldar_status ldar_pickle_read(const char *where, const struct ldar_pickle_input *input, struct ldar_pickle **out,
                                  struct ldar_error *error)
{
    struct machine *machine = calloc(1, sizeof *machine);
    struct ldar_pickle *pickle = calloc(1, sizeof *pickle);
    *out = NULL;
    if (!machine || !pickle) {
        free(machine);
        free(pickle);
        return ldar_fail_memory(error, sizeof *machine, "a pickle");
    }
    machine->pickle = pickle;
    machine->where = where;
    machine->input = input;
    machine->error = error;
    run(machine);
    enum ldar_status status = machine->status;
    free(machine->stack);
    free(machine->memo);
    free(machine);
    if (status) {
        ldar_pickle_free(pickle);
        return status;
    }
    *out = pickle;
    return LDAR_OK;
}

void ldar_pickle_free(struct ldar_pickle *pickle)
{
    if (!pickle) {
        return;
    }
    while (pickle->chunks) {
        struct chunk *next = pickle->chunks->next;
        free(pickle->chunks);
        pickle->chunks = next;
    }
    free(pickle);
}

/* ---- values ---- */

const struct ldar_value *ldar_pickle_root(const struct ldar_pickle *pickle)
{
    return pickle->root;
}

const struct ldar_value *ldar_pickle_get(const struct ldar_value *dict, const char *key)
{
    for (size_t i = 0; dict->kind == LDAR_PICKLE_DICT && i < dict->items.count; i += 2) {
        const struct ldar_value *name = dict->items.item[i];
        if (name->kind == LDAR_PICKLE_STRING && strcmp(name->string, key) == 0) {
            return dict->items.item[i + 1];
        }
    }
    return NULL;
}

static void add_json(struct ldar_text *text, const struct ldar_value *value, int depth);

static void add_json_items(struct ldar_text *text, const struct ldar_value *value, int depth)
{
    const int dict = value->kind == LDAR_PICKLE_DICT;
    const char *separator = "";
    ldar_text_add(text, dict ? "{" : "[");
    /* A list that holds itself, or one list many times over, ends at the capacity. */
    for (size_t i = 0; i < value->items.count && text->length < text->capacity; i += dict ? 2 : 1) {
        const struct ldar_value *first = value->items.item[i];
        if (dict && first->kind != LDAR_PICKLE_STRING) {
            continue;
        }
        ldar_text_add(text, "%s", separator);
        separator = ",";
        if (dict) {
            ldar_text_add_json(text, first->string);
            ldar_text_add(text, ":");
        }
        add_json(text, value->items.item[i + (dict ? 1 : 0)], depth + 1);
    }
    ldar_text_add(text, dict ? "}" : "]");
}

static void add_json(struct ldar_text *text, const struct ldar_value *value, int depth)
{
    switch (value->kind) {
    case LDAR_PICKLE_BOOL:
        ldar_text_add(text, value->integer ? "true" : "false");
        break;
    case LDAR_PICKLE_INTEGER:
        ldar_text_add(text, "%lld", (long long)value->integer);
        break;
    case LDAR_PICKLE_FLOAT:
        /* The precision makes a fraction or an exponent stand even in a whole number, so that it stays a float. */
        ldar_text_add(text, isfinite(value->number) ? "%.17e" : "null", value->number);
        break;
    case LDAR_PICKLE_STRING:
        ldar_text_add_json(text, value->string);
        break;
    case LDAR_PICKLE_TUPLE:
    case LDAR_PICKLE_LIST:
    case LDAR_PICKLE_DICT:
        if (depth == MAX_JSON_DEPTH) {
            text->length += text->capacity;
        } else {
            add_json_items(text, value, depth);
        }
        break;
    default:
        ldar_text_add(text, "null");
    }
}

size_t ldar_pickle_json(const struct ldar_value *value, char *out, size_t capacity)
{
    struct ldar_text text = {out, capacity, 0};
    add_json(&text, value, 0);
    return text.length;
}
