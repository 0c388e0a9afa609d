/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * names.h - how places and objects of a store are written on the command line.
 *
 *	FILE:OFFSET[+LEN]   a place: 0:64M, 1:0x200000, 0:128M+2M
 *	blob:NAME           and a bare NAME: a blob, unless it begins with a word and a colon
 *	rowgroup:T/R  graph:P  vector:L  time:S/B  actor:A/B
 */
#ifndef PF_TOOLS_NAMES_H
#define PF_TOOLS_NAMES_H

#include "cli.h"

/** Longest printed name: a kind, a colon, 255 bytes, or two numbers. */
#define NAMES_TEXT_MAX 272

/** What a text names, before any store is asked. */
struct name {
	bool is_extent;
	uint32_t file_id;
	uint64_t offset, len; /* len 0: to the end of its extent */
	struct pinfold_object_id object;
	char blob[256]; /* object.name points here */
};
/** 0, or -EINVAL with the reason in @ret_why (static). */
int name_parse(const char *text, struct name *ret_name, const char **ret_why);
/** Operand @text, of an object or an extent; ends in cli_usage() if it is neither. Before the store is opened. */
void name_arg(const struct cli *cli, const char *text, struct name *ret_name);
/** As name_arg(), but an extent is wrong too. */
void name_object_arg(const struct cli *cli, const char *text, struct name *ret_name);

/** Parts of a store that a name stands for, in order. */
struct name_span {
	struct pinfold_extent extent;
	uint64_t offset, size; /* in the extent */
};
struct name_spans {
	struct name_span *spans; /* owned; name_spans_done() */
	size_t count;
};
/** Finds what @name, written as @text, names in @pf; says why not. Returns an exit status. */
int name_resolve(struct cli *cli, struct pinfold *pf, const struct name *name, const char *text,
		 struct name_spans *ret_spans);
void name_spans_done(struct name_spans *spans);

/* Each returns @buf, of NAMES_TEXT_MAX bytes. */
const char *name_object(const struct pinfold_object_id *id, char *buf);
const char *name_place(uint32_t file_id, uint64_t offset, char *buf);
const char *name_extent(const struct pinfold_extent *extent, char *buf);
/** The object that holds @extent, or "-". */
const char *name_owner(struct pinfold *pf, const struct pinfold_extent *extent, char *buf);
const char *name_kind(enum pinfold_object_kind kind);

/** {"file", "offset", "len", "gen"} */
json_t *name_extent_json(const struct pinfold_extent *extent);

#endif
