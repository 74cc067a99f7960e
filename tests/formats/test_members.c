/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include "formats/members.h"
#include "formats/provenance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_numbers(void **state)
{
    (void)state;
    static const char text[] =
        "{\"step\": 12, \"text\": \"a \\\" , \\\"loss\\\": 3\", \"list\": [1, {\"loss\": 9}, \"]\"],"
        "\n\t\"loss\":-1.5e-3,\"last\": null, \"end\" : 7}\n";
    double value;
    assert_true(member_number(text, "step", &value) && value == 12);
    assert_true(member_number(text, "loss", &value) && value == -1.5e-3);
    assert_true(member_number(text, "end", &value) && value == 7);
    static const char *const none[] = {"last", "text", "list", "ste", "steps", "", "a"};
    for (size_t i = 0; i < sizeof none / sizeof *none; ++i) {
        assert_false(member_number(text, none[i], &value));
    }
}

/* What this program writes comes back as it was. */
static void test_strings(void **state)
{
    (void)state;
    static const char *const strings[] = {
        "", "plain", "a b\"c\\d", "\t\n\r\001\177", "\xc3\xa4\xe2\x82\xac\xf0\x9f\xa7\xac", "[\"]}"};
    const size_t total = sizeof strings / sizeof *strings;
    char text[2000] = "{\"first\": [], \"all\": [";
    for (size_t i = 0; i < total; ++i) {
        char *quoted = quote_json(strings[i]), one[300];
        snprintf(one, sizeof one, "{\"value\": %s}", quoted);
        char *back = member_string(one, "value");
        assert_string_equal(back, strings[i]);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? ", " : "", quoted);
        free(back);
        free(quoted);
    }
    strcat(text, "]}");
    size_t count;
    char **list = member_strings(text, "all", &count);
    assert_int_equal(count, total);
    for (size_t i = 0; i < total; ++i) {
        assert_string_equal(list[i], strings[i]);
    }
    assert_null(list[total]);
    member_strings_free(list);
    list = member_strings(text, "first", &count);
    assert_non_null(list);
    assert_int_equal(count, 0);
    member_strings_free(list);
}

/* Text that is cut off anywhere is at worst something without members. */
static void test_torn(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [\"b\", {\"c\": \"d\\u00e4\\\\\"}], \"e\": \"f\", \"g\": [\"h\", \"i\"], \"j\": 5}";
    for (size_t length = 0; length < sizeof text; ++length) {
        char *cut = calloc(1, length + 1);
        size_t count;
        double value;
        memcpy(cut, text, length);
        free(member_string(cut, "e"));
        member_strings_free(member_strings(cut, "a", &count));
        char **list = member_strings(cut, "g", &count);
        assert_true(!list || count == 2);
        member_strings_free(list);
        if (member_number(cut, "j", &value)) {
            assert_true(value == 5);
        }
        free(cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_numbers), cmocka_unit_test(test_strings),
                                       cmocka_unit_test(test_torn)};
    return cmocka_run_group_tests_name("formats.members", tests, folder_make, folder_remove);
}
