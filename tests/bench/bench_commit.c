/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench_commit - records of 256 bytes updated by compare-and-swap, or with --leases actor leases renewed by their
 * tokens with other data; every write changes every word of the value.
 *
 *   async  acknowledged when ordered, few in flight: updates per second, and time from submission to acknowledgement.
 *          With --rate they come at that rate whatever the store does, all that are due go together, at most
 *          --in-flight, and the time is counted from when each was due. Runs of --seconds, each after a checkpoint, are
 *          a burst that the journal takes; sustained ones, of --sustain seconds, write several times its capacity,
 *          and their time ends only when all is durable
 *   sync   acknowledged when durable, 100 in flight: against LMDB with sync, against RocksDB with its log flushed at
 *          each write, and against what the device could do: flushes per second of a bare loop that writes as many
 *          bytes per flush as 100 updates take in the journal, times 100; and of the same loop if it works between
 *          two flushes for as long as 100 updates take in async mode ("in turn")
 *
 * Each record has one thread that updates it, so all stores find the expected value; each checks it. The
 * competitors run with the number of threads that suits them best, which is looked for first. Runs of all sides
 * follow each other, pair after pair, in one process, each on its own files in one directory; who goes first changes
 * from pair to pair, and after each run what it left to do (checkpoint, write-back of memory) is done.
 *
 *	bench_commit [--dir DIR] [--records N] [--seconds S] [--pairs N] [--threads N] [--in-flight N]
 *	             [--figure async|sync] [--rate N] [--sustain S] [--leases] [--json]
 */
#include "commit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYNC_IN_FLIGHT 100u
#define SYNC_SIDES 5u
#define PAIRS_MAX 64
#define DEVICE_FILE (256ull << 20)
#define KEY_STRIDE 0x9e3779b1u

struct bench {
	struct commit_params params;
	const struct commit_store *ours;
	unsigned threads, in_flight;
	uint64_t rate; /* offered per second, in async mode; 0: as fast as they are acknowledged */
	double sustain; /* seconds of a sustained run; 0: none */
	bool async, sync, json;
};

/* What one run gave. */
struct outcome {
	double rate;
	uint64_t done;
	double us[3]; /* median, 99 %, 99.9 % */
};
static const double quantiles[] = { 0.5, 0.99, 0.999 };

/* One side of a comparison: a store, how it is driven, and its runs. */
struct side {
	const struct commit_store *store;
	void *db;
	unsigned threads, batch;
	double interval_ns; /* between two updates of a thread; 0: as fast as they are acknowledged */
	struct worker *workers;
	bool durable;     /* its time ends when all is durable */
	uint64_t written; /* updates of all noted runs */
	double rate[PAIRS_MAX], us[3][PAIRS_MAX];
};

struct worker {
	struct side *side;
	unsigned index;
	uint64_t next;
	uint32_t *version;     /* of its records */
	uint64_t count;        /* of its records */
	uint64_t done;
	struct bench_hist *hist;
	struct commit_batch *batch;
	_Atomic bool *stop;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void dir_remove(const char *dir)
{
	if (nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		bench_die("bench_commit: %s: cannot remove: %s", dir, strerror(errno));
}

/* ---- records ---- */

void commit_key(uint64_t number, uint8_t ret_key[COMMIT_KEY])
{
	memset(ret_key, 0, COMMIT_KEY);
	memcpy(ret_key, &number, sizeof(number));
	memcpy(ret_key + 8, "actor", 5);
}

void commit_value(uint64_t number, uint32_t version, uint64_t ret_value[COMMIT_VALUE / 8])
{
	uint64_t word = (number << 32 | version) * 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < COMMIT_VALUE / 8; i++)
		ret_value[i] = word += 0xbb67ae8584caa73bull;
}

/* ---- driving ---- */

/* The next records of @worker, in an order that visits all before it comes back. */
static void batch_fill(struct worker *worker)
{
	struct commit_batch *batch = worker->batch;

	for (unsigned i = 0; i < batch->count; i++) {
		uint64_t own = worker->next, number = own * worker->side->threads + worker->index;
		uint32_t version = worker->version[own]++;

		worker->next = (own + KEY_STRIDE) % worker->count;
		commit_key(number, batch->key[i]);
		if (!worker->side->store->blind)
			commit_value(number, version, batch->expected[i]);
		commit_value(number, version + 1, batch->value[i]);
	}
}

static void hist_add(struct bench_hist *hist, uint64_t ns, unsigned count)
{
	hist->bucket[bench_hist_index(ns)] += count;
	hist->total += count;
	hist->sum_ns += ns * count;
	if (ns > hist->max_ns)
		hist->max_ns = ns;
}

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load_explicit(worker->stop, memory_order_relaxed)) {
		uint64_t before;

		batch_fill(worker);
		before = bench_now_ns();
		worker->side->store->update(worker->side->db, worker->batch);
		hist_add(worker->hist, bench_now_ns() - before, worker->batch->count);
		worker->done += worker->batch->count;
	}
	return NULL;
}

/* Updates come at their own rate; what is due goes together. */
static void *worker_run_paced(void *arg)
{
	struct worker *worker = arg;
	const double interval_ns = worker->side->interval_ns;
	const uint64_t begin_ns = bench_now_ns();

	while (!atomic_load_explicit(worker->stop, memory_order_relaxed)) {
		const double due_ns = (double)worker->done * interval_ns;
		double passed_ns, count;

		do {
			passed_ns = (double)(bench_now_ns() - begin_ns);
		} while (passed_ns < due_ns);
		count = (passed_ns - due_ns) / interval_ns + 1;
		worker->batch->count = count < worker->side->batch ? (unsigned)count : worker->side->batch;
		batch_fill(worker);
		worker->side->store->update(worker->side->db, worker->batch);
		passed_ns = (double)(bench_now_ns() - begin_ns);
		for (unsigned i = 0; i < worker->batch->count; i++)
			hist_add(worker->hist, (uint64_t)(passed_ns - due_ns - i * interval_ns), 1);
		worker->done += worker->batch->count;
	}
	return NULL;
}

static void side_run(struct side *side, double seconds, struct outcome *ret_outcome)
{
	struct bench_hist *all = calloc(1, sizeof(*all));
	pthread_t threads[COMMIT_THREADS_MAX];
	_Atomic bool stop = false;
	uint64_t begin, done = 0;

	if (!all)
		bench_die("bench_commit: out of memory");
	begin = bench_now_ns();
	for (unsigned i = 0; i < side->threads; i++) {
		side->workers[i].stop = &stop;
		side->workers[i].done = 0;
		memset(side->workers[i].hist, 0, sizeof(*side->workers[i].hist));
		if (pthread_create(&threads[i], NULL, side->interval_ns > 0 ? worker_run_paced : worker_run,
				   &side->workers[i]) != 0)
			bench_die("bench_commit: cannot start a thread");
	}
	usleep((useconds_t)(seconds * 1e6));
	atomic_store(&stop, true);
	for (unsigned i = 0; i < side->threads; i++) {
		pthread_join(threads[i], NULL);
		done += side->workers[i].done;
		bench_hist_merge(all, side->workers[i].hist);
	}
	if (side->durable)
		side->store->sync(side->db);
	ret_outcome->done = done;
	ret_outcome->rate = (double)done / ((double)(bench_now_ns() - begin) / 1e9);
	for (unsigned q = 0; q < 3; q++)
		ret_outcome->us[q] = (double)bench_hist_quantile(all, quantiles[q]) / 1e3;
	free(all);
}

static uint64_t coprime_below(uint64_t count)
{
	/* the stride must not share a factor with it */
	for (;; count--) {
		uint64_t a = KEY_STRIDE, b = count;

		while (b) {
			uint64_t rest = a % b;

			a = b;
			b = rest;
		}
		if (a == 1)
			return count;
	}
}

static void side_open(const struct bench *bench, struct side *side, const struct commit_store *store, unsigned threads,
		      unsigned batch, bool sync)
{
	char path[600];

	*side = (struct side){ .store = store, .threads = threads, .batch = batch };
	snprintf(path, sizeof(path), "%s/%s-%s-%u", bench->params.dir, store->name, sync ? "sync" : "async", threads);
	dir_remove(path);
	side->db = store->open(&bench->params, path, sync);
	side->workers = calloc(threads, sizeof(*side->workers));
	for (unsigned i = 0; side->workers && i < threads; i++) {
		struct worker *worker = &side->workers[i];

		worker->side = side;
		worker->index = i;
		worker->count = coprime_below(bench->params.records / threads);
		worker->version = calloc(worker->count, sizeof(*worker->version));
		worker->hist = calloc(1, sizeof(*worker->hist));
		worker->batch = calloc(1, sizeof(*worker->batch));
		if (!worker->version || !worker->hist || !worker->batch || batch >= worker->count)
			bench_die("bench_commit: too few records, or out of memory");
		worker->batch->count = batch;
	}
	if (!side->workers)
		bench_die("bench_commit: out of memory");
	store->settle(side->db);
}

static void side_close(const struct bench *bench, struct side *side)
{
	char path[600];

	side->store->close(side->db);
	for (unsigned i = 0; i < side->threads; i++) {
		free(side->workers[i].version);
		free(side->workers[i].hist);
		free(side->workers[i].batch);
	}
	free(side->workers);
	for (unsigned sync = 0; sync < 2; sync++) {
		snprintf(path, sizeof(path), "%s/%s-%s-%u", bench->params.dir, side->store->name,
			 sync ? "sync" : "async", side->threads);
		dir_remove(path);
	}
}

/* Opens @store with the number of threads that makes it fastest at @in_flight. */
static void side_open_best(const struct bench *bench, struct side *side, const struct commit_store *store,
			   unsigned in_flight)
{
	const unsigned tries[] = { 1, 2, in_flight };
	unsigned best = 0;
	double best_rate = 0;

	for (unsigned i = 0; i < 3; i++) {
		struct outcome outcome;

		side_open(bench, side, store, tries[i], in_flight / tries[i], true);
		side_run(side, bench->params.seconds / 2, &outcome);
		side_close(bench, side);
		if (outcome.rate > best_rate) {
			best_rate = outcome.rate;
			best = i;
		}
	}
	side_open(bench, side, store, tries[best], in_flight / tries[best], true);
}

/* Run @pair of @side; what it leaves to do is done afterwards. */
static void side_note(struct side *side, unsigned pair, double seconds)
{
	struct outcome outcome;

	side_run(side, seconds, &outcome);
	side->store->settle(side->db);
	side->rate[pair] = outcome.rate;
	side->written += outcome.done;
	for (unsigned q = 0; q < 3; q++)
		side->us[q][pair] = outcome.us[q];
}

/* ---- the device ---- */

/* Flushes per second of @size bytes each, by one thread that works for @pause_ns before each. */
static double device_run(const struct bench *bench, size_t size, double pause_ns)
{
	char path[600];
	uint64_t begin, count = 0, offset = 0;
	uint8_t *data;
	int fd;

	size = (size + 4095) & ~(size_t)4095;
	snprintf(path, sizeof(path), "%s/device", bench->params.dir);
	bench_file_prepare(path, DEVICE_FILE, 1);
	fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0 || posix_memalign((void **)&data, 4096, size) != 0)
		bench_die("bench_commit: %s: %s", path, strerror(errno));
	bench_fill(data, size, 2, 0);
	begin = bench_now_ns();
	do {
		const uint64_t paused = bench_now_ns();

		while ((double)(bench_now_ns() - paused) < pause_ns)
			;
		memcpy(data, &count, sizeof(count));
		if (pwrite(fd, data, size, (off_t)offset) != (ssize_t)size || fdatasync(fd) != 0)
			bench_die("bench_commit: %s: %s", path, strerror(errno));
		offset = offset + 2 * size > DEVICE_FILE ? 0 : offset + size;
		count++;
	} while ((double)(bench_now_ns() - begin) < bench->params.seconds * 1e9);
	begin = bench_now_ns() - begin;
	close(fd);
	free(data);
	return (double)count / ((double)begin / 1e9);
}

/* ---- report ---- */

static void report_side(struct bench_json *json, const struct bench *bench, const char *figure, const struct side *side)
{
	struct bench_summary rate, us[3];

	bench_summarize(side->rate, bench->params.pairs, &rate);
	for (unsigned q = 0; q < 3; q++)
		bench_summarize(side->us[q], bench->params.pairs, &us[q]);
	if (!json) {
		printf("| %s | %s, %u x %u | %.0f (%.0f-%.0f) | %.1f | %.1f (%.1f-%.1f) | %.1f |\n", figure,
		       side->store->name, side->threads, side->batch, rate.median / 1e3, rate.low / 1e3,
		       rate.high / 1e3, us[0].median, us[1].median, us[1].low, us[1].high, us[2].median);
		return;
	}
	bench_json_open(json, NULL, '{');
	bench_json_string(json, "figure", figure);
	bench_json_string(json, "store", side->store->name);
	bench_json_number(json, "threads", side->threads);
	bench_json_number(json, "in_flight_per_thread", side->batch);
	bench_json_summary(json, "updates_per_s", &rate);
	bench_json_summary(json, "p50_us", &us[0]);
	bench_json_summary(json, "p99_us", &us[1]);
	bench_json_summary(json, "p999_us", &us[2]);
	bench_json_close(json, '}');
}

/* @bound 0: nothing is asked of it. */
static void report_ratio(struct bench_json *json, const struct bench *bench, const char *what, const double *ours,
			 const double *other, double bound)
{
	struct bench_summary ratio;

	bench_summarize_ratio(ours, other, bench->params.pairs, &ratio);
	if (!json) {
		printf("| %s | %.2f (%.2f-%.2f) |", what, ratio.median, ratio.low, ratio.high);
		if (bound > 0)
			printf(" >= %.2f | %s |\n", bound, ratio.median >= bound ? "yes" : "no");
		else
			printf(" | |\n");
		return;
	}
	bench_json_open(json, NULL, '{');
	bench_json_string(json, "ratio_to", what);
	bench_json_summary(json, "ratio", &ratio);
	if (bound > 0) {
		bench_json_number(json, "bound", bound);
		bench_json_bool(json, "reached", ratio.median >= bound);
	}
	bench_json_close(json, '}');
}

static void heading(const struct bench *bench)
{
	if (bench->json)
		return;
	printf("%llu records of %u bytes, %.1f s a run, %u pairs.\n\n", (unsigned long long)bench->params.records,
	       COMMIT_VALUE, bench->params.seconds, bench->params.pairs);
	printf("| figure | store, threads x in flight | 1000 updates/s (quartiles) | p50 us | p99 us | p99.9 us |\n"
	       "|-|-|-|-|-|-|\n");
}

/* ---- figures ---- */

static void figure_async(const struct bench *bench, struct bench_json *json)
{
	const unsigned pairs = bench->params.pairs;
	char sustained[80] = "async, sustained";
	struct side side, burst;

	side_open(bench, &side, bench->ours, bench->threads, bench->in_flight / bench->threads, false);
	if (bench->rate)
		side.interval_ns = 1e9 * bench->threads / (double)bench->rate;
	for (unsigned i = 0; i < pairs; i++)
		side_note(&side, i, bench->params.seconds);
	burst = side;
	side.durable = true;
	side.written = 0;
	for (unsigned i = 0; i < pairs && bench->sustain > 0; i++)
		side_note(&side, i, bench->sustain);
	side_close(bench, &side);
	report_side(json, bench, "async, burst", &burst);
	if (bench->sustain <= 0)
		return;
	if (!json)
		snprintf(sustained, sizeof(sustained), "async, sustained: %.3g s, %.2g x the journal, durable",
			 bench->sustain,
			 (double)side.written / pairs * bench->ours->update_bytes / (double)COMMIT_JOURNAL);
	report_side(json, bench, sustained, &side);
}

static void figure_sync(const struct bench *bench, struct bench_json *json)
{
	/* group header, header of a record, which a batch shares */
	const size_t group_bytes = 64 + 40 + SYNC_IN_FLIGHT * (size_t)bench->ours->update_bytes;
	const struct commit_store *const rival = commit_rocksdb;
	struct side ours, lmdb, rocks = { 0 }, async;
	double reach[PAIRS_MAX], flushes[PAIRS_MAX], in_turn[PAIRS_MAX];
	struct bench_summary device, device_in_turn;

	side_open_best(bench, &ours, bench->ours, SYNC_IN_FLIGHT);
	side_open_best(bench, &lmdb, &commit_lmdb, SYNC_IN_FLIGHT);
	if (rival)
		side_open_best(bench, &rocks, rival, SYNC_IN_FLIGHT);
	side_open(bench, &async, bench->ours, 1, bench->in_flight, false);
	for (unsigned i = 0; i < bench->params.pairs; i++) {
		/* who goes first changes from pair to pair; "in turn" needs the async run of its pair */
		for (unsigned k = 0; k < SYNC_SIDES; k++)
			switch ((i + k) % SYNC_SIDES) {
			case 0: side_note(&ours, i, bench->params.seconds); break;
			case 1: side_note(&lmdb, i, bench->params.seconds); break;
			case 2:
				if (rival)
					side_note(&rocks, i, bench->params.seconds);
				break;
			case 3: flushes[i] = device_run(bench, group_bytes, 0); break;
			default:
				side_note(&async, i, bench->params.seconds);
				in_turn[i] = SYNC_IN_FLIGHT *
					     device_run(bench, group_bytes, SYNC_IN_FLIGHT * 1e9 / async.rate[i]);
			}
		reach[i] = flushes[i] * SYNC_IN_FLIGHT < async.rate[i] ? flushes[i] * SYNC_IN_FLIGHT : async.rate[i];
	}
	report_side(json, bench, "sync", &ours);
	report_side(json, bench, "sync", &lmdb);
	if (rival)
		report_side(json, bench, "sync", &rocks);
	report_side(json, bench, "async beside", &async);
	bench_summarize(flushes, bench->params.pairs, &device);
	bench_summarize(in_turn, bench->params.pairs, &device_in_turn);
	if (!json)
		printf("\nDevice: %.0f flushes/s (%.0f-%.0f) of %zu bytes; in turn with as much work as %u async\n"
		       "updates are: %.0f (%.0f-%.0f).\n\n"
		       "| sync against | ratio (quartiles) | bound | |\n|-|-|-|-|\n",
		       device.median, device.low, device.high, group_bytes, SYNC_IN_FLIGHT,
		       device_in_turn.median / SYNC_IN_FLIGHT, device_in_turn.low / SYNC_IN_FLIGHT,
		       device_in_turn.high / SYNC_IN_FLIGHT);
	else
		bench_json_open(json, NULL, '{');
	if (json) {
		bench_json_summary(json, "device_flushes_per_s", &device);
		bench_json_summary(json, "updates_per_s_in_turn", &device_in_turn);
		bench_json_close(json, '}');
	}
	report_ratio(json, bench, "LMDB", ours.rate, lmdb.rate, 10);
	if (rival)
		report_ratio(json, bench, "RocksDB", ours.rate, rocks.rate, 3);
	else if (!json)
		printf("| RocksDB | not measured: built without librocksdb-dev | | |\n");
	report_ratio(json, bench, "lower of device and async", ours.rate, reach, 0.85);
	report_ratio(json, bench, "device and updates in turn", ours.rate, in_turn, 0);
	side_close(bench, &ours);
	side_close(bench, &lmdb);
	if (rival)
		side_close(bench, &rocks);
	side_close(bench, &async);
}

/* ---- main ---- */

static const struct option options[] = {
	{ "dir", required_argument, NULL, 'd' },     { "records", required_argument, NULL, 'r' },
	{ "seconds", required_argument, NULL, 't' }, { "pairs", required_argument, NULL, 'p' },
	{ "threads", required_argument, NULL, 'n' }, { "in-flight", required_argument, NULL, 'i' },
	{ "figure", required_argument, NULL, 'f' },  { "leases", no_argument, NULL, 'l' },
	{ "json", no_argument, NULL, 'j' },	     { "rate", required_argument, NULL, 'R' },
	{ "sustain", required_argument, NULL, 'S' }, { "help", no_argument, NULL, 'h' },
	{ 0 },
};

static void usage(FILE *file)
{
	fputs("usage: bench_commit [option]...\n"
	      "  --figure NAME   async or sync (both)\n"
	      "  --leases        renew leases; without it update records by compare-and-swap\n"
	      "  --records N     of 256 bytes (100000)\n"
	      "  --pairs N       runs of each side, in turn (5)\n"
	      "  --seconds S     of each run; in async mode a burst (2)\n"
	      "  --sustain S     of each sustained run in async mode, which ends when all is durable; 0: none (5)\n"
	      "  --threads N     in async mode (1)\n"
	      "  --in-flight N   of all threads together, in async mode (16)\n"
	      "  --rate N        offered per second in async mode (as fast as they are acknowledged)\n"
	      "  --dir DIR       for the stores (/var/tmp/pinfold-bench-commit)\n"
	      "  --json          all figures, for a machine\n"
	      "  --help          this text\n", file);
}

static uint64_t number(const char *text, uint64_t low, uint64_t high)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || value < low || value > high)
		bench_die("bench_commit: %s: a number from %llu to %llu is wanted", text, (unsigned long long)low,
			  (unsigned long long)high);
	return value;
}

static void parse(int argc, char **argv, struct bench *bench)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'd': bench->params.dir = optarg; break;
		case 'r': bench->params.records = number(optarg, 10000, 1u << 30); break;
		case 't': bench->params.seconds = strtod(optarg, NULL); break;
		case 'p': bench->params.pairs = (unsigned)number(optarg, 1, PAIRS_MAX); break;
		case 'n': bench->threads = (unsigned)number(optarg, 1, COMMIT_THREADS_MAX); break;
		case 'i': bench->in_flight = (unsigned)number(optarg, 1, COMMIT_BATCH_MAX); break;
		case 'f':
			bench->async = strcmp(optarg, "sync") != 0;
			bench->sync = strcmp(optarg, "async") != 0;
			break;
		case 'R': bench->rate = number(optarg, 1, 1u << 30); break;
		case 'S': bench->sustain = strtod(optarg, NULL); break;
		case 'l': bench->ours = &commit_lease; break;
		case 'j': bench->json = true; break;
		default:
			usage(c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (!(bench->params.seconds >= 0.1 && bench->params.seconds <= 3600))
		bench_die("bench_commit: --seconds must be from 0.1 to 3600");
	if (!(bench->sustain >= 0 && bench->sustain <= 3600))
		bench_die("bench_commit: --sustain must be from 0 (none) to 3600 seconds");
	if (bench->in_flight < bench->threads)
		bench_die("bench_commit: --in-flight must be at least --threads");
}

int main(int argc, char **argv)
{
	struct bench bench = {
		.params = { .dir = "/var/tmp/pinfold-bench-commit", .records = 100000, .seconds = 2, .pairs = 5 },
		.ours = &commit_pinfold,
		.sustain = 5,
		.threads = 1,
		.in_flight = 16,
		.async = true,
		.sync = true
	};
	struct bench_json json;

	parse(argc, argv, &bench);
	if (bench_dir_prepare(bench.params.dir))
		bench_die("bench_commit: %s: not a directory on a disk", bench.params.dir);
	heading(&bench);
	if (bench.json) {
		bench_json_init(&json, stdout);
		bench_json_open(&json, NULL, '[');
	}
	if (bench.async)
		figure_async(&bench, bench.json ? &json : NULL);
	if (bench.sync)
		figure_sync(&bench, bench.json ? &json : NULL);
	if (bench.json) {
		bench_json_close(&json, ']');
		putchar('\n');
	}
	dir_remove(bench.params.dir);
	return 0;
}
