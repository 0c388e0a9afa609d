// SPDX-License-Identifier: LGPL-2.1-or-later
/* names.c - how places and objects of a store are written on the command line. */
#include "names.h"
#include "config/units.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Kinds by enum pinfold_object_kind; numbers: how many it is named by (0: a name). */
static const struct {
	const char *prefix;
	int numbers;
} kinds[] = {
	[PINFOLD_OBJECT_ROWGROUP] = {"rowgroup", 2},
	[PINFOLD_OBJECT_GRAPH_PARTITION] = {"graph", 1},
	[PINFOLD_OBJECT_VECTOR_LIST] = {"vector", 1},
	[PINFOLD_OBJECT_TIME_BUCKET] = {"time", 2},
	[PINFOLD_OBJECT_ACTOR_STATE] = {"actor", 2},
	[PINFOLD_OBJECT_BLOB] = {"blob", 0},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(*kinds))
#define NAME_KINDS "blob:NAME, rowgroup:T/R, graph:P, vector:L, time:S/B or actor:A/B"

const char *name_kind(enum pinfold_object_kind kind)
{
	return kind > 0 && kind < KIND_COUNT ? kinds[kind].prefix : "unknown";
}

static int parse_offset(const char *text, uint64_t *ret_value)
{
	char *end;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && isxdigit((unsigned char)text[2])) {
		errno = 0;
		*ret_value = strtoull(text, &end, 16);
		return errno || *end ? -EINVAL : 0;
	}
	return units_parse_size(text, ret_value);
}

/* "12:" begins a place; everything else is an object. */
static bool looks_like_place(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits && text[digits] == ':';
}

static int parse_place(const char *text, struct name *name, const char **ret_why)
{
	char file[16], offset[64];
	size_t digits = strspn(text, "0123456789");
	const char *rest = text + digits + 1, *plus = strchr(rest, '+');
	size_t offset_size = plus ? (size_t)(plus - rest) : strlen(rest);
	uint64_t file_id;

	*ret_why = "an extent is FILE:OFFSET[+LEN], such as 0:64M or 0:128M+2M";
	if (digits >= sizeof(file) || offset_size >= sizeof(offset))
		return -EINVAL;
	memcpy(file, text, digits);
	file[digits] = 0;
	memcpy(offset, rest, offset_size);
	offset[offset_size] = 0;
	if (units_parse_count(file, &file_id) || file_id > UINT32_MAX || parse_offset(offset, &name->offset))
		return -EINVAL;
	if (plus && (parse_offset(plus + 1, &name->len) || !name->len || name->len > UINT64_MAX - name->offset))
		return -EINVAL;
	name->is_extent = true;
	name->file_id = (uint32_t)file_id;
	return 0;
}

static int parse_numbers(const char *text, int numbers, struct pinfold_object_id *id)
{
	char first[24];
	size_t n = strcspn(text, "/");

	if ((text[n] == '/') != (numbers == 2) || n >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, n);
	first[n] = 0;
	if (units_parse_count(first, &id->a))
		return -EINVAL;
	return numbers == 2 ? units_parse_count(text + n + 1, &id->b) : 0;
}

int name_parse(const char *text, struct name *ret_name, const char **ret_why)
{
	struct name name = {.object.kind = PINFOLD_OBJECT_BLOB};
	const char *blob = text;
	int r = 0;

	if (looks_like_place(text)) {
		r = parse_place(text, &name, ret_why);
		if (r)
			return r;
	}
	for (size_t i = 1; i < KIND_COUNT && !name.is_extent; i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(text, kinds[i].prefix, n) || text[n] != ':')
			continue;
		name.object.kind = (enum pinfold_object_kind)i;
		blob = text + n + 1;
		if (kinds[i].numbers && parse_numbers(blob, kinds[i].numbers, &name.object)) {
			*ret_why = kinds[i].numbers == 2 ? "it is named by two numbers, such as rowgroup:3/17"
							 : "it is named by one number, such as graph:42";
			return -EINVAL;
		}
	}
	/* A bare name is a blob's, unless it looks like a kind of object that there is not. */
	if (!name.is_extent && blob == text && text[strspn(text, "abcdefghijklmnopqrstuvwxyz_-")] == ':') {
		*ret_why = "there is no such kind of object: an object is " NAME_KINDS;
		return -EINVAL;
	}
	if (!name.is_extent && name.object.kind == PINFOLD_OBJECT_BLOB &&
	    (!*blob || strlen(blob) >= sizeof(name.blob))) {
		*ret_why = "a blob's name has 1 to 255 bytes";
		return -EINVAL;
	}
	*ret_name = name;
	if (!name.is_extent && name.object.kind == PINFOLD_OBJECT_BLOB) {
		strcpy(ret_name->blob, blob);
		ret_name->object.name = ret_name->blob;
	}
	return 0;
}

void name_arg(const struct cli *cli, const char *text, struct name *ret_name)
{
	const char *why = "";

	if (name_parse(text, ret_name, &why))
		cli_usage(cli, "'%s': %s", text, why);
}

void name_object_arg(const struct cli *cli, const char *text, struct name *ret_name)
{
	name_arg(cli, text, ret_name);
	if (ret_name->is_extent)
		cli_usage(cli, "'%s' is an extent; an object is " NAME_KINDS, text);
}

/* ---- finding ---- */

struct find {
	struct name_spans *out;
	uint32_t file_id;
	uint64_t begin, end; /* in the file; end 0: just the extent that holds begin */
	int r;
};

static int add_span(struct name_spans *out, const struct pinfold_extent *extent, uint64_t offset, uint64_t size)
{
	struct name_span *spans = reallocarray(out->spans, out->count + 1, sizeof(*spans));

	if (!spans)
		return -ENOMEM;
	spans[out->count++] = (struct name_span){*extent, offset, size};
	out->spans = spans;
	return 0;
}

static int visit_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct find *find = ctx;
	uint64_t first = extent->offset, last = extent->offset + extent->len, begin, end;

	if (extent->file_id != find->file_id || last <= find->begin)
		return 0;
	if (first >= (find->end ? find->end : find->begin + 1))
		return 0;
	begin = find->begin > first ? find->begin : first;
	end = find->end && find->end < last ? find->end : last;
	/* Without a length the whole extent is meant, wherever in it the offset points. */
	if (!find->end)
		begin = first;
	find->r = add_span(find->out, extent, begin - first, end - begin);
	return find->r;
}

static int resolve_place(struct pinfold *pf, const struct name *name, struct name_spans *out)
{
	struct find find = {.out = out, .file_id = name->file_id, .begin = name->offset};
	int r;

	if (name->len)
		find.end = name->offset + name->len;
	r = pinfold_extent_foreach(pf, visit_extent, &find);
	if (r)
		return r;
	return out->count ? 0 : -ENOENT;
}

static int resolve_object(struct pinfold *pf, const struct pinfold_object_id *id, struct name_spans *out)
{
	struct pinfold_object object = {0};
	int r = pinfold_object_lookup(pf, id, &object);

	if (r)
		return r;
	for (size_t i = 0; i < object.extent_count && !r; i++)
		r = add_span(out, &object.extents[i], 0, object.extents[i].len);
	pinfold_object_done(&object);
	return r;
}

int name_resolve(struct cli *cli, struct pinfold *pf, const struct name *name, const char *text,
		 struct name_spans *ret_spans)
{
	struct name_spans out = {0};
	int r = name->is_extent ? resolve_place(pf, name, &out) : resolve_object(pf, &name->object, &out);

	if (r) {
		name_spans_done(&out);
		if (r == -ENOENT && name->is_extent)
			return cli_fail(cli, "%s: no extent is there ('pinfold residency %s' lists them)", text,
					cli->store);
		if (r == -ENOENT)
			return cli_fail(cli, "%s: no such object ('pinfold ls %s' lists them)", text, cli->store);
		return cli_fail_call(cli, pf, r, text);
	}
	*ret_spans = out;
	return CLI_OK;
}

void name_spans_done(struct name_spans *spans)
{
	free(spans->spans);
	spans->spans = NULL;
	spans->count = 0;
}

/* ---- printing ---- */

const char *name_object(const struct pinfold_object_id *id, char *buf)
{
	const char *kind = name_kind(id->kind);

	if (id->kind == PINFOLD_OBJECT_BLOB)
		snprintf(buf, NAMES_TEXT_MAX, "%s:%s", kind, id->name ? id->name : "");
	else if (id->kind < KIND_COUNT && kinds[id->kind].numbers == 1)
		snprintf(buf, NAMES_TEXT_MAX, "%s:%" PRIu64, kind, id->a);
	else
		snprintf(buf, NAMES_TEXT_MAX, "%s:%" PRIu64 "/%" PRIu64, kind, id->a, id->b);
	return buf;
}

const char *name_place(uint32_t file_id, uint64_t offset, char *buf)
{
	char place[UNITS_TEXT_MAX];

	snprintf(buf, NAMES_TEXT_MAX, "%u:%s", file_id, units_place(offset, place));
	return buf;
}

const char *name_extent(const struct pinfold_extent *extent, char *buf)
{
	char place[UNITS_TEXT_MAX], len[UNITS_TEXT_MAX];

	snprintf(buf, NAMES_TEXT_MAX, "%u:%s+%s", extent->file_id, units_place(extent->offset, place),
		 units_place(extent->len, len));
	return buf;
}

const char *name_owner(struct pinfold *pf, const struct pinfold_extent *extent, char *buf)
{
	struct pinfold_object_id id;
	char blob[256];

	if (pinfold_object_of_extent(pf, extent, &id, blob))
		return strcpy(buf, "-");
	if (id.kind == PINFOLD_OBJECT_BLOB)
		id.name = blob;
	return name_object(&id, buf);
}

json_t *name_extent_json(const struct pinfold_extent *extent)
{
	return json_pack("{s:I, s:o, s:I, s:I}", "file", (json_int_t)extent->file_id, "offset",
			 cli_json_u64(extent->offset), "len", (json_int_t)extent->len, "gen", (json_int_t)extent->gen);
}
