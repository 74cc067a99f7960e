/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LDAR_TOOLS_PAGE_H
#define LDAR_TOOLS_PAGE_H

#include "formats/output.h"

/* Pages of HTML that need nothing beside themselves: a head with the styles of text, tables and charts, and an end. */

/* Up to and with the headline; `command` is what made the page. Both are escaped. */
LDAR_MUST_USE enum ldar_status page_begin(output *page, const char *title, const char *command,
                                          struct ldar_error *error);

LDAR_MUST_USE enum ldar_status page_end(output *page, struct ldar_error *error);

/* Text for HTML and XML, in content and quoted attributes: bytes that are no UTF-8 and control characters are '?'. */
LDAR_MUST_USE enum ldar_status page_escaped(output *page, const char *text, struct ldar_error *error);

#endif
