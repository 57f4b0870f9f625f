/* SPDX-License-Identifier: MIT OR GPL-2.0-or-later */

/*
 * Begin and end of the process: options, threads, callbacks.
 */
#include "../common/fail.h"
#include "../common/numbers.h"
#include "../common/plugin-api.h"
#include "chunk-encoder.h"
#include "control.h"
#include "hits.h"
#include "probe-symbols.h"
#include "translation.h"
#include <pthread.h>

EXPORT int qemu_plugin_version = QEMU_PLUGIN_API;
const char plugin_name[] = "plugin";

static bool summary;

static void on_exit_of_qemu(plugin_id id UNUSED, void *unused UNUSED)
{
    struct position at = counts_of_run();
    if (end_commands() && qemu.cpu && !is_running()) {
        hold_run();
        at = settle();
        release_run();
    }
    if (window.state != CLOSED)
        end_logging(END_RUN, at.icount);
    queue_wait(); /* also for the end marker of a window that was just closed */
    if (hits_fd >= 0)
        flush_hits();
    tell_visits("start", &window.start, &window.start_visits);
    tell_visits("end", &window.end, &window.end_visits);
    tell("{\"event\":\"exit\",\"icount\":%" PRIu64 ",\"brctr\":%" PRIu64 ",\"unexplained\":%" PRIu64 "}", at.icount,
         at.brctr, unexplained);
    if (summary)
        fprintf(stderr, "vmtape plugin: %" PRIu64 " branches, %" PRIu64 " instructions, %" PRIu64 " unexplained\n",
                at.brctr, at.icount, unexplained);
}

static void run_thread(void *(*body)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, NULL) != 0)
        fail(EXIT_STREAM, "cannot make a thread");
    pthread_detach(thread);
}

static const char other_qemu[] = "use one of 7.2 to 10.2, built with modules as distributions do (plugin/README.md, What it trusts)";

/* Takes an option; false when it is none of these. data=FD: a stream socket or pipe for chunks. control=FD: a
 * stream socket for commands. probes=FD: one for hits. follow=off: do not follow branches. brctr=N: the records
 * before the instant where the run begins. summary=on: print counts at the end. */
static bool take_option(const char *option)
{
    const char *value = strchr(option, '=');
    uint64_t number = 0;
    if (!value)
        return false;
    value++;
    bool is_on = !strcmp(value, "on"), is_switch = is_on || !strcmp(value, "off"), is_count = is_number(value, 10, &number);
    if (!strncmp(option, "data=", 5) && is_count && is_open(number))
        data_fd = (int)number;
    else if (!strncmp(option, "control=", 8) && is_count && is_open(number))
        control_fd = (int)number;
    else if (!strncmp(option, "probes=", 7) && is_count && is_open(number))
        hits_fd = (int)number;
    else if (!strncmp(option, "follow=", 7) && is_switch)
        following = is_on;
    else if (!strncmp(option, "brctr=", 6) && is_count)
        run.brctr = number;
    else if (!strncmp(option, "summary=", 8) && is_switch)
        summary = is_on;
    else
        return false;
    return true;
}

EXPORT int qemu_plugin_install(plugin_id id, const struct plugin_info *info, int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!take_option(argv[i]))
            return refuse_to_load("the option %s is wrong", argv[i]);
    if (!info->system_emulation || strcmp(info->target_name, "x86_64"))
        return refuse_to_load("the machine is no x86_64 system");
    if (info->system.smp_vcpus != 1)
        return refuse_to_load("the machine has %d processors, not one", info->system.smp_vcpus);
    const char *missing = find_symbols();
    if (!missing && hits_fd >= 0)
        missing = find_more_symbols();
    if (missing)
        return refuse_to_load("this QEMU does not export %s: %s", missing, other_qemu);
    if (hits_fd >= 0 && !are_notes_known())
        return refuse_to_load("this QEMU keeps its table of helpers otherwise than 7.2 does: %s", other_qemu);
    begin_run(id);
    if (data_fd >= 0)
        run_thread(encode);
    if (hits_fd >= 0) {
        open_hits();
        run_thread(send_hits);
    }
    if (control_fd >= 0)
        run_thread(control);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_flush_cb(id, on_flush);
    qemu_plugin_register_atexit_cb(id, on_exit_of_qemu, NULL);
    return 0;
}
