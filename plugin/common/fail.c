/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Ending QEMU.
 */
#include <unistd.h>
#include "fail.h"

static void complain(const char *format, va_list args)
{
    flockfile(stderr);
    fprintf(stderr, "vmtape %s: ", plugin_name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    fflush(stderr);
    funlockfile(stderr);
}

void fail(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    _exit(code);
}

int refuse_to_load(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(format, args);
    va_end(args);
    return -1;
}

void *must_have(void *memory)
{
    if (!memory)
        fail(EXIT_STREAM, "out of memory");
    return memory;
}
