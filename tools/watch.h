/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* watch.h - one look at a store that a process has open: its numbers, slices and decisions. */
#ifndef PF_TOOLS_WATCH_H
#define PF_TOOLS_WATCH_H

#include "cli.h"

struct watch {
	struct pinfold_live *live;
	struct pinfold_live_info info;
	struct pinfold_live_slice *slices;
	size_t slice_count;
	struct pinfold_live_decision *decisions;
	size_t decision_count;
};
/** 0, or as pinfold_live_open(). Reads the numbers; slices and decisions are read by watch_read(). */
int watch_open(const char *dir, struct watch *ret_watch);
int watch_read(struct watch *watch);
/** Also after a failed watch_open() of a zeroed @watch. */
void watch_close(struct watch *watch);

/** The slice that holds byte @offset of file @file_id, or NULL. */
const struct pinfold_live_slice *watch_slice_at(const struct watch *watch, uint32_t file_id, uint64_t offset);
/** The last decision on slice @index of @file_id, or NULL. */
const struct pinfold_live_decision *watch_last_decision(const struct watch *watch, uint32_t file_id, uint32_t index);

json_t *watch_info_json(const struct pinfold_live_info *info);
json_t *watch_slice_json(const struct pinfold_live_slice *slice, uint64_t slice_size);

/* Short stable names, for tables and JSON. */
const char *watch_state_name(unsigned int state);
const char *watch_priority_name(unsigned int priority);
const char *watch_pattern_name(unsigned int pattern);
const char *watch_action_name(unsigned int action);
const char *watch_reason_name(unsigned int reason);

#endif
