/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slotmap.h - the parts that all BPF sources share: slot arrays in BPF maps
 * that user space reads through mmap, and attaching without words on stderr.
 */
#ifndef PF_SLOTMAP_H
#define PF_SLOTMAP_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe.h"
#include "telemetry/source.h"

/** Links of one source; a source has few programs but one link per CPU for the perf event. */
struct pf_links {
	struct bpf_link **links;
	uint32_t count, capacity;
};

/** The slot arrays of a source. */
struct pf_slotmap {
	int outer_fd; /* borrowed from the skeleton */
	uint32_t slice_count, file_count;
	struct pf_slotmap_file {
		int fd; /* -1: none */
		void *slots;
		size_t size;
	} *files;
};

/** Keeps libbpf from printing until pf_libbpf_restore(). Not nestable; the controller thread alone loads. */
void pf_libbpf_quiet(void);
void pf_libbpf_restore(void);

void pf_probe_configure(const struct pf_source_params *params, struct pf_probe_config *ret_config);
/** A map like the ones pf_slotmap_add() makes: tells the loader the inner type. Returns a descriptor to close. */
int pf_slotmap_template(const struct pf_source_params *params);
int pf_slotmap_init(struct pf_slotmap *slotmap, const struct pf_source_params *params, int outer_fd);
void pf_slotmap_done(struct pf_slotmap *slotmap);
/** Makes, maps read-only, freezes and publishes the array of file @file_id. */
int pf_slotmap_add(struct pf_slotmap *slotmap, uint32_t file_id, const struct pinfold_slot **ret_slots);

/** Attaches @program as its section says. -errno as the kernel says, without text. */
int pf_links_attach(struct pf_links *links, struct bpf_program *program);
/** Attaches @program to major faults on every CPU. */
int pf_links_attach_majors(struct pf_links *links, struct bpf_program *program);
void pf_links_done(struct pf_links *links);

/** Lets @program, a learn_process(), see which process this is. */
int pf_probe_learn(struct bpf_program *program);

#endif
