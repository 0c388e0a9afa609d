/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * need_bpf.h - tests of exact counts, where a source has them. Their fixture has an info.
 */
#ifndef PF_NEED_BPF_H
#define PF_NEED_BPF_H

#define NEED_BPF() \
	do { \
		if (strcmp(self->info.source, "bpf:range") && strcmp(self->info.source, "bpf:fexit")) \
			SKIP(return, "no exact source here: %s", self->info.missing); \
	} while (0)

#endif
