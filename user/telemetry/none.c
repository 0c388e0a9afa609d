/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * none.c - source "none": nothing is counted.
 */
#include <stddef.h>

#include "telemetry/source.h"

static int none_open(const struct pf_source_params *params, struct pf_source **ret_source)
{
	*ret_source = NULL;
	return 0;
}

static void none_close(struct pf_source *source)
{
}

static int none_add_file(struct pf_source *source, uint32_t file_id, int fd, const struct pinfold_slot **ret_slots)
{
	*ret_slots = NULL;
	return 0;
}

static uint64_t none_lost(const struct pf_source *source)
{
	return 0;
}

const struct pf_source_ops pf_source_none = {
	.name = "none",
	.open = none_open,
	.close = none_close,
	.add_file = none_add_file,
	.lost = none_lost,
};
