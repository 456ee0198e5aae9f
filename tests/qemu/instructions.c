/* A plugin for QEMU (its API version 1) that counts the instructions between the entry of a function and its return.
 *
 * Arguments: start=ADDRESS, the function's first instruction; end=ADDRESS, an instruction that a call of it returns to
 * (several times if need be); counts=FILE, gets a line with the number for each call; places=FILE, gets at the end how often
 * each instruction ran in all calls together, as lines "ADDRESS NUMBER".
 *
 * The few declarations of QEMU's qemu-plugin.h that it needs stand here, since Debian packages the header nowhere. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef void (*on_translation)(uint64_t plugin, struct qemu_plugin_tb *block);
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, on_translation);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(
    struct qemu_plugin_insn *, void (*)(unsigned cpu, void *), int flags, void *);
extern void qemu_plugin_register_atexit_cb(uint64_t plugin, void (*)(uint64_t plugin, void *), void *);

int qemu_plugin_version = 1;

/* Flash has 4 MiB, and instructions lie at even addresses. */
enum { PLACES = 2 << 20, ENDS = 8 };
static uint32_t ran[PLACES];
static uint64_t start, ends[ENDS], count;
static int known_ends, is_inside;
static FILE *counts, *places;

static void on_instruction(unsigned cpu, void *address)
{
    uint64_t here = (uintptr_t)address;
    if (here == start) {
        is_inside = 1;
        count = 0;
    }
    for (int i = 0; is_inside && i < known_ends; i++) {
        if (here == ends[i]) {
            is_inside = 0;
            fprintf(counts, "%" PRIu64 "\n", count);
            fflush(counts);
        }
    }
    if (is_inside) {
        count++;
        if (here / 2 < PLACES)
            ran[here / 2]++;
    }
}

static void on_block(uint64_t plugin, struct qemu_plugin_tb *block)
{
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        uintptr_t address = qemu_plugin_insn_vaddr(instruction);
        qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_instruction, 0, (void *)address);
    }
}

static void on_exit_of_qemu(uint64_t plugin, void *nothing)
{
    for (uint32_t i = 0; places && i < PLACES; i++)
        if (ran[i])
            fprintf(places, "%" PRIx32 " %" PRIu32 "\n", i * 2, ran[i]);
    if (places)
        fclose(places);
}

int qemu_plugin_install(uint64_t plugin, const void *machine, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '=');
        if (!value++)
            return -1;
        if (!strncmp(argv[i], "start=", 6))
            start = strtoull(value, NULL, 0);
        else if (!strncmp(argv[i], "end=", 4) && known_ends < ENDS)
            ends[known_ends++] = strtoull(value, NULL, 0);
        else if (!strncmp(argv[i], "counts=", 7))
            counts = fopen(value, "w");
        else if (!strncmp(argv[i], "places=", 7))
            places = fopen(value, "w");
        else
            return -1;
    }
    if (!counts || !known_ends)
        return -1;
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, on_block);
    qemu_plugin_register_atexit_cb(plugin, on_exit_of_qemu, NULL);
    return 0;
}
