/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * tail.c - damage at every byte of a small journal: a bit flipped, a byte
 * zeroed, everything from there on torn off (zeros), or the file cut short.
 *
 * The data file is as it was before the first transaction, so all of them
 * must come out of the journal. Wanted of each recovery: exactly the first S
 * transactions, S not less than what stands in groups before the damage; or -EUCLEAN
 * with words that name the journal file, but only if sound groups follow the damage.
 * Where the damage hits no meaning (padding), all of them.
 *
 *	tail [--stride N] [--seed S]
 */
#include "base/error.h"
#include "rnd.h"
#include "scratch.h"
#include "store/record.h"
#include "store/super.h"
#include "tap.h"
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS 7
#define CHUNK 64
#define REGION_MAX (1u << 20)

enum damage { DAMAGE_FLIP, DAMAGE_ZERO, DAMAGE_TEAR, DAMAGE_CUT, DAMAGE_COUNT };
static const char *const damage_names[DAMAGE_COUNT] = { "bit flipped", "byte zeroed", "torn off", "file cut short" };

struct group {
	uint64_t start, end, records_end; /* file offsets */
	unsigned transactions;            /* up to and including this group */
};

static struct {
	struct ledger *ledger;
	char dir[SCRATCH_PATH], before[SCRATCH_PATH], after[SCRATCH_PATH];
	char segment[SCRATCH_PATH + 40];
	unsigned char *journal; /* the segment's first REGION_MAX bytes */
	off_t segment_size;
	struct group group[STEPS + 4];
	unsigned group_count, transactions;
	struct model expected[STEPS + 1]; /* after 0 .. STEPS transactions */
	unsigned stride;
	enum damage damage;
	uint64_t from;
	struct shared {
		uint64_t at, recovered_all, recovered_less, refused;
		int failed;
		char text[768];
	} *shared;
} proof;

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(proof.shared->text, sizeof(proof.shared->text), format, args);
	va_end(args);
	proof.shared->failed = 1;
	return -1;
}

/* ---- the journal to damage ---- */

static int make_setup(void *ctx)
{
	return work_setup(proof.ledger, proof.dir);
}

static int make_steps(void *ctx)
{
	static struct model model;
	struct pinfold_config config;
	struct pf_store *store;

	if (work_config(&proof.ledger->world, &config) < 0 || pf_store_open(proof.dir, &config, &store) < 0)
		return fail("open: %s", pf_error_text());
	model = proof.ledger->model[0];
	for (unsigned i = 0; i < STEPS; i++)
		if (work_step(proof.ledger, store, &model, 0) < 0)
			return fail("step %u: %s", i, pf_error_text());
	return 0; /* ends without closing */
}

/* A seed whose transactions only write, and little. */
static uint64_t plain_seed(uint64_t seed)
{
	static const struct model empty;

	for (;; seed++) {
		struct world world = { .seed = seed };
		unsigned bytes = 0;

		for (unsigned i = 1; i <= STEPS; i++) {
			struct plan plan;

			plan_make(&world, 0, i, &empty, &plan);
			bytes += plan.life || plan.abort_first ? 1u << 20 : 0;
			for (unsigned k = 0; k < plan.range_count; k++)
				bytes += plan.range[k].size;
		}
		if (bytes < 6000)
			return seed;
	}
}

static bool ended_well(const char *what, int (*fn)(void *))
{
	bool late;
	int status = child_wait(child_start(fn, NULL), 120000, &late);

	if (status == 0 && !late && !proof.shared->failed && !proof.ledger->failed)
		return true;
	tap_note("%s %s, at journal offset %llu: %s%s", what, child_status_text(status, late),
		 (unsigned long long)proof.shared->at, proof.shared->text, proof.ledger->text);
	return false;
}

static int count_record(void *ctx, const struct pf_record_header *header, const void *record)
{
	++*(unsigned *)ctx;
	return 0;
}

static bool read_file(const char *path, void *ret_bytes, size_t size, off_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	bool ok = fd >= 0 && fstat(fd, &st) == 0 && pread(fd, ret_bytes, size, 0) > 0;

	if (ok && ret_size)
		*ret_size = st.st_size;
	if (fd >= 0)
		close(fd);
	return ok;
}

/* The groups from the superblock's start on; all in the first segment of a new store. */
static bool find_groups(void)
{
	static unsigned char super[2 * PF_BLOCK_SIZE];
	char path[SCRATCH_PATH + 40];
	struct pf_super_disk found;
	uint64_t pos;

	snprintf(path, sizeof(path), "%s/%s", proof.dir, PF_SUPER_FILE);
	if (!read_file(path, super, sizeof(super), NULL) || pf_super_parse(super, sizeof(super), &found, NULL) < 0)
		return false;
	snprintf(proof.segment, sizeof(proof.segment), "%s/journal/%08u.%06u", proof.dir, found.journal_generation, 0u);
	if (!read_file(proof.segment, proof.journal, REGION_MAX, &proof.segment_size))
		return false;
	for (pos = found.start_pos; proof.group_count < STEPS + 4;) {
		struct group *group = &proof.group[proof.group_count];
		uint64_t at = PF_BLOCK_SIZE + pos;
		struct pf_group_header header;
		unsigned records = 0;

		if (at + PF_BLOCK_SIZE > REGION_MAX || pf_journal_parse(proof.journal + at, REGION_MAX - at, found.uuid,
									pos, &header, count_record, &records) < 0)
			break;
		group->start = at;
		group->records_end = at + sizeof(header) + header.length;
		group->end = (group->records_end + PF_BLOCK_SIZE - 1) / PF_BLOCK_SIZE * PF_BLOCK_SIZE;
		group->transactions = proof.transactions += records;
		proof.group_count++;
		pos += group->end - group->start;
	}
	return proof.group_count > 1 && proof.transactions == STEPS;
}

static bool make_journal(uint64_t seed)
{
	char data[SCRATCH_PATH + 40];

	proof.ledger->world = (struct world){ .seed = plain_seed(seed), .writer_count = 1, .no_io_uring = true };
	if (!ended_well("setup", make_setup) || scratch_copy(proof.dir, proof.before) < 0)
		return false;
	ledger_next_run(proof.ledger);
	if (!ended_well("steps", make_steps))
		return false;
	proof.expected[0] = proof.ledger->model[0];
	for (unsigned i = 1; i <= STEPS; i++) {
		static const struct pinfold_extent none;

		proof.expected[i] = proof.expected[i - 1];
		model_apply(&proof.ledger->world, 0, i, &proof.expected[i], &none);
	}
	if (!find_groups())
		return false;
	/* what recovery begins with: the journal as it is, the data as it was */
	snprintf(data, sizeof(data), "%s/data.000000", proof.before);
	return scratch_copy(proof.dir, proof.after) == 0 && scratch_copy_to(data, proof.after, "data.000000") == 0;
}

/* ---- damage, recovery, judgement ---- */

static int write_at(const char *path, const void *bytes, size_t size, off_t offset)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = fd >= 0 && pwrite(fd, bytes, size, offset) == (ssize_t)size ? 0 : -1;

	if (fd >= 0)
		close(fd);
	return r;
}

static int do_damage(uint64_t at)
{
	unsigned char byte = proof.journal[at];
	static const unsigned char zeros[REGION_MAX];

	switch (proof.damage) {
	case DAMAGE_FLIP:
		byte ^= (unsigned char)(1u << at % 8);
		return write_at(proof.segment, &byte, 1, (off_t)at);
	case DAMAGE_ZERO:
		return write_at(proof.segment, zeros, 1, (off_t)at);
	case DAMAGE_TEAR:
		return write_at(proof.segment, zeros, proof.group[proof.group_count - 1].end - at, (off_t)at);
	case DAMAGE_CUT:
		return truncate(proof.segment, (off_t)at);
	default:
		return -1;
	}
}

/* Group that the damage at @at first changes a meaning in; group_count: none. */
static unsigned group_hit(uint64_t at)
{
	bool changes = proof.damage == DAMAGE_FLIP || proof.journal[at] != 0;

	for (unsigned i = 0; i < proof.group_count; i++) {
		const struct group *group = &proof.group[i];

		if (proof.damage == DAMAGE_TEAR) {
			for (uint64_t k = at > group->start ? at : group->start; k < group->records_end; k++)
				if (proof.journal[k])
					return i;
		} else if (at >= group->start && at < group->records_end && changes) {
			return i;
		}
	}
	return proof.group_count;
}

static int judge_content(struct pf_store *store, unsigned least, unsigned most, uint64_t at)
{
	static unsigned char found[WORLD_AREA];
	struct head head;
	unsigned s;

	if (pf_read_at(store, &proof.ledger->fixed[0], plan_area(0), &head, sizeof(head)) < 0)
		return fail("read: %s", pf_error_text());
	s = (unsigned)head.sequence;
	if (s < least || s > most)
		return fail("%s at %llu: %u transactions recovered; %u to %u expected", damage_names[proof.damage],
			    (unsigned long long)at, s, least, most);
	for (unsigned i = 0; i < WORLD_EXTENTS; i++) {
		if (pf_read_at(store, &proof.ledger->fixed[i], plan_area(0), found, WORLD_AREA) < 0)
			return fail("read: %s", pf_error_text());
		if (memcmp(found, proof.expected[s].image[i], WORLD_AREA))
			return fail("%s at %llu: extent %u is not what %u transactions leave",
				    damage_names[proof.damage], (unsigned long long)at, i, s);
	}
	if (s == proof.transactions)
		proof.shared->recovered_all++;
	else
		proof.shared->recovered_less++;
	return 0;
}

static int one_damage(uint64_t at)
{
	unsigned hit = group_hit(at), last = proof.group_count - 1;
	unsigned least = hit ? proof.group[hit - 1].transactions : 0;
	struct pinfold_config config;
	struct pf_store *store;
	int r;

	if (scratch_copy(proof.after, proof.dir) < 0 || do_damage(at) < 0)
		return fail("damage: %s", strerror(errno));
	if (work_config(&proof.ledger->world, &config) < 0)
		return -1;
	config.flags = PINFOLD_OPEN_STORE_ONLY;
	pf_error_clear();
	r = pf_store_open(proof.dir, &config, &store);
	if (r == -EUCLEAN) {
		proof.shared->refused++;
		if (!strstr(pf_error_text(), "journal") || !strpbrk(pf_error_text(), "0123456789"))
			return fail("%s at %llu: refused without naming file and offset: \"%s\"",
				    damage_names[proof.damage], (unsigned long long)at, pf_error_text());
		/* torn at the end is what a power cut leaves: no reason to refuse */
		if (proof.damage != DAMAGE_CUT && (hit >= last || proof.damage == DAMAGE_TEAR))
			return fail("%s at %llu: refused although nothing sound follows: %s",
				    damage_names[proof.damage], (unsigned long long)at, pf_error_text());
		return 0;
	}
	if (r < 0)
		return fail("%s at %llu: open: %s: %s", damage_names[proof.damage], (unsigned long long)at,
			    strerror(-r), pf_error_text());
	/* what was acknowledged and is provably damaged must not vanish in silence */
	if (hit < last && proof.damage != DAMAGE_TEAR)
		r = fail("%s at %llu: group %u of %u is damaged, sound ones follow, and nothing was said",
			 damage_names[proof.damage], (unsigned long long)at, hit, proof.group_count);
	else
		r = judge_content(store, least, proof.transactions, at);
	if (r == 0 && pf_store_verify(store, NULL, NULL, NULL) < 0)
		r = fail("%s at %llu: verify: %s", damage_names[proof.damage], (unsigned long long)at, pf_error_text());
	if (pf_store_close(store) < 0 && r == 0)
		r = fail("%s at %llu: close: %s", damage_names[proof.damage], (unsigned long long)at, pf_error_text());
	return r;
}

/* Paddings are long and all alike: one byte in 61 of them. Of group headers, more than the stride says. */
static bool is_tried(uint64_t at)
{
	for (unsigned i = 0; i < proof.group_count; i++)
		if (at >= proof.group[i].records_end && at < proof.group[i].end)
			return at % (61 * proof.stride) == 0;
	return at % proof.stride == 0 || (at % PF_BLOCK_SIZE < 64 && at % 8 == 0);
}

static int do_chunk(void *ctx)
{
	uint64_t end = proof.group[proof.group_count - 1].end;
	unsigned done = 0;

	for (uint64_t at = proof.from; at < end && done < CHUNK; at++) {
		proof.shared->at = at;
		if (!is_tried(at))
			continue;
		if (one_damage(at) < 0)
			return -1;
		done++;
	}
	proof.shared->at++;
	return 0;
}

static void prove(enum damage damage)
{
	uint64_t end = proof.group[proof.group_count - 1].end;
	bool ok = true;

	proof.damage = damage;
	proof.from = proof.group[0].start;
	memset(proof.shared, 0, sizeof(*proof.shared));
	while (ok && proof.from < end) {
		ok = ended_well(damage_names[damage], do_chunk);
		proof.from = proof.shared->at;
	}
	tap_result(ok && proof.shared->recovered_all + proof.shared->recovered_less + proof.shared->refused,
		   "%s: all recovered %llu times, a prefix %llu, refused %llu", damage_names[damage],
		   (unsigned long long)proof.shared->recovered_all, (unsigned long long)proof.shared->recovered_less,
		   (unsigned long long)proof.shared->refused);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "stride", required_argument, NULL, 'n' }, { "seed", required_argument, NULL, 's' }, { 0 },
	};
	unsigned long long seed = 20240005;
	int option;
	bool made;

	proof.stride = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			proof.stride = strtoul(optarg, NULL, 0);
		else if (option == 's')
			seed = strtoull(optarg, NULL, 0);
		else
			return 2;
	}
	tap_begin();
	tap_note("seed %llu, every %u. byte", seed, proof.stride);
	proof.ledger = mmap(NULL, sizeof(*proof.ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	proof.shared = mmap(NULL, sizeof(*proof.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	proof.journal = calloc(1, REGION_MAX);
	if (!proof.stride || scratch_make(NULL, proof.dir) < 0 || scratch_make(NULL, proof.before) < 0 ||
	    scratch_make(NULL, proof.after) < 0)
		return 1;
	made = make_journal(seed);
	if (tap_result(made, "a journal of %u transactions in %u groups", proof.transactions, proof.group_count))
		for (int damage = 0; damage < DAMAGE_COUNT; damage++)
			prove((enum damage)damage);
	scratch_clear(proof.dir, true);
	scratch_clear(proof.before, true);
	scratch_clear(proof.after, true);
	return tap_end();
}
