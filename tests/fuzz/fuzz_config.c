/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration: what parses can be written, parses again to the same, and makes a consistent list of parameters. */
#include "fuzz.h"
#include "model/config.h"
#include "model/table.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct ldar_config config, again;
    struct ldar_error error;
    char text[8192];
    if (ldar_config_parse((const char *)data, bytes, &config, &error) != LDAR_OK) {
        return 0;
    }
    size_t length = ldar_config_format(&config, text, sizeof text);
    if (length == 0 || length >= sizeof text || ldar_config_parse(text, length, &again, &error) != LDAR_OK
        || !ldar_config_equal(&config, &again)) {
        abort();
    }
    struct ldar_parameters parameters;
    struct ldar_parameter_table table;
    if (ldar_parameters_create(&config, NULL, &parameters, &table, &error) != LDAR_OK) {
        return 0;
    }
    for (size_t i = 0; i < table.count; i++) {
        if (strlen(table.entry[i].name) + 1 >= sizeof table.entry[i].name || table.entry[i].count == 0) {
            abort();
        }
    }
    ldar_parameters_destroy(&parameters, &table);
    return 0;
}
