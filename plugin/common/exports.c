/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Looking up what QEMU exports.
 */
#include "exports.h"
#include <dlfcn.h>
#include <link.h>

const char *find_exports(const struct wanted_export *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(RTLD_DEFAULT, wanted[i].name);
        if (!found)
            return wanted[i].name;
        memcpy(wanted[i].at, &found, sizeof found);
    }
    return NULL;
}

size_t size_of_export(const void *at)
{
    Dl_info info;
    const ElfW(Sym) *symbol = NULL;
    if (!dladdr1(at, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol || info.dli_saddr != at)
        return 0;
    return symbol->st_size;
}
