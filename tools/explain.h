/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* explain.h - why slices are as they are, in sentences. */
#ifndef PF_TOOLS_EXPLAIN_H
#define PF_TOOLS_EXPLAIN_H

#include "cli.h"
#include "watch.h"

#include <stdio.h>

/** What an explanation knows besides the slice. */
struct explain_host {
	int huge_state;         /* of huge pages on this host: 1 works, 0 missing, -1 not asked */
	char huge_found[160];   /* what doctor found about them */
	int node_count;         /* NUMA nodes; 0: not asked */
};
/** Asks doctor about the file system of @dir. */
void explain_host_ask(const char *dir, struct explain_host *ret_host);

/** Slices next to each other for which the same is true. */
struct explain_group {
	const struct pinfold_live_slice *first;
	size_t count, known_count;
	/* sums and extremes of the group */
	uint64_t minor, major, write, stall_ns, refaulted, evicted;
	uint64_t resident_pages; /* of known_count slices; of the others it is not known */
	float heat_min, heat_max, confidence_min, fault_rate, stall_rate;
	uint32_t latency[32];
	uint64_t node_faults[8];
};
/** Takes the group that begins at slices[0]: same state, reason and priority, without a gap. */
void explain_group_take(const struct pinfold_live_slice *slices, size_t count, struct explain_group *ret_group);

/** Lines of an explanation; each a sentence or two. */
struct explanation {
	char place[160]; /* which slices */
	char state[200]; /* what they are, since when */
	char why[360];   /* the policy's reason, with its numbers */
	char seen[320];  /* faults, stalls, pattern */
	char huge[320];  /* why not huge */
	char moved[240]; /* why not moved to another node */
	char change[320]; /* what would change it */
};
void explain_make(const struct explain_group *group, const struct watch *watch, const struct explain_host *host,
		  struct explanation *ret_explanation);
void explain_print(const struct explanation *explanation, FILE *out);
json_t *explain_json(const struct explain_group *group, const struct watch *watch,
		     const struct explanation *explanation);

#endif
