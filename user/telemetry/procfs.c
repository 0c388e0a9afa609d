/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * procfs.c - source "procfs": no privilege, no probes.
 *
 * Faults cannot be counted per slice, so slots are filled with what the
 * revocation sampler and the residency scan saw: minor is the number of
 * revoked blocks that were touched, inserted and evicted are net changes of
 * resident pages. Stalls are known of the whole process only: its major
 * faults, each taken to cost NOMINAL_STALL_S.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/error.h"
#include "telemetry/source.h"

/* A random read of an NVMe device. Only its being above zero matters: heat is relative. */
#define NOMINAL_STALL_S 100e-6

struct pf_source {
	uint32_t file_count, slice_count;
	size_t size;
	struct pinfold_slot **slots; /* [file_count] */
	long major_count;
};

static void procfs_close(struct pf_source *source)
{
	if (!source)
		return;
	for (uint32_t i = 0; source->slots && i < source->file_count; i++) {
		if (source->slots[i])
			munmap(source->slots[i], source->size);
	}
	free(source->slots);
	free(source);
}

static long major_count(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_majflt;
}

static int procfs_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	struct pf_source *source = calloc(1, sizeof(*source));

	if (source)
		source->slots = calloc(params->file_count, sizeof(*source->slots));
	if (!source || !source->slots) {
		procfs_close(source);
		return pf_error(-ENOMEM, "procfs: out of memory");
	}
	source->file_count = params->file_count;
	source->slice_count = params->slice_count;
	source->size = (size_t)params->slice_count * sizeof(struct pinfold_slot);
	source->major_count = major_count();
	*ret_source = source;
	return 0;
}

static int procfs_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	void *slots;

	if (file_id >= source->file_count)
		return pf_error(-ERANGE, "file %u: the arena has room for %u files", file_id, source->file_count);
	if (source->slots[file_id])
		return pf_error(-EEXIST, "file %u is watched already", file_id);
	slots = mmap(NULL, source->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (slots == MAP_FAILED)
		return pf_error(-errno, "file %u: %zu bytes of slots: %s", file_id, source->size, strerror(errno));
	source->slots[file_id] = slots;
	*ret_slots = slots;
	return 0;
}

static uint64_t procfs_lost(const struct pf_source *source)
{
	return 0;
}

static void procfs_observe(struct pf_source *source, uint32_t file_id, uint32_t index,
			   const struct pf_observation *seen)
{
	struct pinfold_slot *slot = &source->slots[file_id][index];

	slot->minor += seen->touched;
	slot->random += seen->touched_random;
	if (seen->touched)
		slot->last_seen_ms = (uint32_t)seen->now_ms;
	if (seen->resident_change > 0) {
		uint64_t came = (uint64_t)seen->resident_change, away = slot->evicted - slot->refaulted;

		slot->inserted += came;
		slot->refaulted += came < away ? came : away;
	} else {
		slot->evicted += (uint64_t)-seen->resident_change;
	}
}

static double procfs_stall_s(struct pf_source *source)
{
	long now = major_count(), count = now - source->major_count;

	source->major_count = now;
	return count > 0 ? (double)count * NOMINAL_STALL_S : 0;
}

const struct pf_source_ops pf_source_procfs = {
	.name = "procfs",
	.open = procfs_open,
	.close = procfs_close,
	.add_file = procfs_add_file,
	.lost = procfs_lost,
	.observe = procfs_observe,
	.stall_s = procfs_stall_s,
};
