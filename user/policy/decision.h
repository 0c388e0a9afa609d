/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * decision.h - what policy decides, as plain data: the only thing residency
 * (through the engine) takes from it.
 */
#ifndef PF_DECISION_H
#define PF_DECISION_H

#include <pinfold/live.h>
#include <stdint.h>

enum pf_action {
	PF_ACTION_NONE = 0,
	PF_ACTION_PIN,      /* lock resident, read in what is missing */
	PF_ACTION_UNPIN,
	PF_ACTION_RENEW,    /* nothing to do for residency: the pin's time starts anew */
	PF_ACTION_PREFETCH,
	PF_ACTION_MIGRATE,  /* to @node */
	PF_ACTION_FOLD,     /* ask for huge pages */
	PF_ACTION_UNFOLD,
	PF_ACTION_ADVISE_RANDOM, /* a miss reads its own page, nothing around it */
	PF_ACTION_ADVISE_NORMAL, /* readahead as the kernel thinks best */
};

struct pf_decision {
	enum pf_action action;
	uint32_t file_id, index;  /* first slice */
	uint32_t slice_count;     /* run of adjacent slices with the same decision */
	enum pinfold_priority priority;
	enum pinfold_reason reason;
	int32_t node;
	float heat;
};

#endif
