/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * probes.h - what the BPF sources have in common: a source is a skeleton and
 * the table of its hooks, and everything else is here.
 */
#ifndef PF_PROBES_H
#define PF_PROBES_H

#include "telemetry/cache.h"
#include "telemetry/slotmap.h"

/** When a hook is used: always, or depending on where the start time of a major fault is taken. */
enum pf_hook_when {
	PF_HOOK_ALWAYS,
	PF_HOOK_STAMP_LATE,  /* the kernel has mm_filemap_fault (6.12) */
	PF_HOOK_STAMP_EARLY, /* it has not */
};

/** A program and what it hangs on. */
struct pf_hook {
	const char *program;
	const char *event; /* for error texts */
	enum pf_hook_when when;
	bool majors; /* perf event page-faults-major; else as the program's section says */
};

/** The parts of an open skeleton. @config: written before loading. The others exist after it. */
struct pf_probe_parts {
	void *skeleton;
	struct bpf_object *object;
	struct pf_probe_config *config;
	struct pf_probe_state *state;
	struct pf_probe_thread *threads; /* [PF_PROBE_THREADS] */
};

/** One BPF source. */
struct pf_probe_kind {
	const char *name;
	/** Opens the skeleton; errno if it cannot. */
	bool (*open)(struct pf_probe_parts *ret_parts);
	int (*load)(void *skeleton);
	void (*destroy)(void *skeleton);
	const struct pf_hook *hooks; /* in the order in which they are attached; detached in reverse */
	uint32_t hook_count;
	bool stamp_early; /* it can do without mm_filemap_fault */
};

struct pf_source {
	const struct pf_probe_kind *kind;
	struct pf_probe_parts parts;
	struct pf_links links;
	struct pf_slotmap slotmap;
	struct pf_cache cache;
};

/** open of struct pf_source_ops. */
int pf_probes_open(const struct pf_probe_kind *kind, const struct pf_source_params *params,
		   struct pf_source **ret_source);
/** The members of struct pf_source_ops. */
void pf_probes_close(struct pf_source *source);
int pf_probes_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots);
uint64_t pf_probes_lost(const struct pf_source *source);
const char *pf_probes_missing(const struct pf_source *source);

/** open, load and destroy of a struct pf_probe_kind, for the skeleton called pf_@name_bpf. */
#define PF_PROBES_SKELETON(name)                                                                \
	static bool open_skeleton(struct pf_probe_parts *ret_parts)                             \
	{                                                                                       \
		struct pf_##name##_bpf *skel = pf_##name##_bpf__open();                         \
                                                                                                \
		if (!skel)                                                                      \
			return false;                                                           \
		*ret_parts = (struct pf_probe_parts){                                           \
			.skeleton = skel,                                                       \
			.object = skel->obj,                                                    \
			.config = (struct pf_probe_config *)&skel->rodata->config,              \
			.state = &skel->bss->state,                                             \
			.threads = skel->bss->threads,                                          \
		};                                                                              \
		return true;                                                                    \
	}                                                                                       \
	static int load_skeleton(void *skeleton)                                                \
	{                                                                                       \
		return pf_##name##_bpf__load(skeleton);                                         \
	}                                                                                       \
	static void destroy_skeleton(void *skeleton)                                            \
	{                                                                                       \
		pf_##name##_bpf__destroy(skeleton);                                             \
	}

#endif
