/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Reading numbers.
 */
#include "numbers.h"
#include <fcntl.h>

bool parse_number(const char *text, int base, uint64_t *value, const char **end)
{
    char *stop;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *value = strtoull(text, &stop, base);
    *end = stop;
    return errno == 0;
}

bool is_number(const char *text, int base, uint64_t *value)
{
    const char *end;
    return parse_number(text, base, value, &end) && !*end;
}

bool is_open(uint64_t fd)
{
    return fd < 1 << 20 && fcntl((int)fd, F_GETFD) >= 0;
}
