/* SPDX-License-Identifier: Apache-2.0 */
#include "lesson_tables.h"

#include <stdlib.h>

static void free_rows(struct lesson_tables *tables)
{
    free(tables->train_rows);
    free(tables->valid_rows);
    free(tables->test_rows);
    tables->train_rows = tables->valid_rows = tables->test_rows = NULL;
}

void lesson_tables_free(struct lesson_tables *tables)
{
    free_rows(tables);
    free(tables->train_means);
    free(tables->valid_means);
    free(tables->test_means);
    table_free(&tables->train);
    table_free(&tables->valid);
    table_free(&tables->test);
    *tables = (struct lesson_tables){0};
}

enum ldar_status lesson_tables_read(struct lesson_tables *tables, const struct lesson_settings *settings,
                                    enum table_kind kind, reference *genome, const char *train, const char *valid,
                                    const char *test, struct ldar_error *error)
{
    const struct {
        const char *path;
        struct table *table;
    } parts[] = {{train, &tables->train}, {valid, &tables->valid}, {test, &tables->test}};
    struct table_options options = {.kind = kind, .reference = genome, .warnings = &said_warnings};
    enum ldar_status status = LDAR_OK;
    *tables = (struct lesson_tables){.path = train};
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == LDAR_OK; i++) {
        if (!parts[i].path)
            continue;
        status = table_read(parts[i].path, &options, parts[i].table, error);
        if (status == LDAR_OK)
            status = lesson_check_lengths(settings, parts[i].path, parts[i].table, error);
        options.classes = (const char *const *)tables->train.classes;
        options.class_count = tables->train.class_count;
    }
    if (status != LDAR_OK)
        lesson_tables_free(tables);
    return status;
}

enum ldar_status lesson_tables_embed(struct lesson_tables *tables, const struct lesson_settings *settings,
                                     const ldar_model *model, struct ldar_error *error)
{
    const struct {
        const struct table *table;
        float **means;
    } parts[] = {{&tables->train, &tables->train_means},
                 {&tables->valid, &tables->valid_means},
                 {&tables->test, &tables->test_means}};
    enum ldar_status status = LDAR_OK;
    for (size_t i = 0; i < sizeof parts / sizeof *parts && status == LDAR_OK; i++)
        if (parts[i].table->count > 0)
            status = lesson_means(settings, model, parts[i].table, parts[i].means, error);
    return status;
}

size_t lesson_tables_nucleotides(const struct lesson_tables *tables)
{
    const struct table *all[] = {&tables->train, &tables->valid, &tables->test};
    size_t total = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        total += all[i]->count > 0 ? all[i]->offsets[all[i]->count] : 0;
    return total;
}

enum ldar_status lesson_tables_cut(struct lesson_tables *tables, size_t fold, struct lesson *lesson,
                                   struct ldar_error *error)
{
    static const char *const value[] = {"value"};
    const int classes = tables->train.kind == TABLE_CLASSES, validates = tables->valid.count > 0;
    free_rows(tables);
    lesson->kind = classes ? LDAR_HEAD_CLASSES : LDAR_HEAD_VALUE;
    lesson->names = classes ? (const char *const *)tables->train.classes : value;
    lesson->outputs = classes ? tables->train.class_count : 1;
    lesson->train.means = tables->train_means;
    lesson->valid.means = validates ? tables->valid_means : tables->train_means;
    lesson->test.means = tables->test_means;
    bool listed = examples_all(&tables->test, &lesson->test.examples, &tables->test_rows);
    if (listed && !validates)
        return examples_fold(&tables->train, tables->path, fold, &lesson->train.examples, &tables->train_rows,
                             &lesson->valid.examples, &tables->valid_rows, error);
    listed = listed && examples_all(&tables->train, &lesson->train.examples, &tables->train_rows)
             && examples_all(&tables->valid, &lesson->valid.examples, &tables->valid_rows);
    return listed ? LDAR_OK : fail_memory(error, tables->path, "the list of examples");
}
