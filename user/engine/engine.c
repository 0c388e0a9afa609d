/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.c - opens and closes: store first, controller last, closed in exact reverse.
 */
#include "engine/engine.h"
#include "store/table/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"

uint64_t pf_now_ms(void)
{
	return pf_clock_ns() / PF_NS_PER_MS;
}

void pf_log(struct pinfold *pf, enum pinfold_log_level level, const char *format, ...)
{
	char text[PF_ERROR_MAX];
	va_list args;

	if (!pf->config.log)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	pf->config.log(pf->config.log_ctx, level, text);
}

const char *pinfold_version(void)
{
	return PF_VERSION;
}

const char *pinfold_errmsg(struct pinfold *pf)
{
	return pf_error_text();
}

/* The whole mapping's advice and prefault, as the configuration asks. */
static void advise_mapping(struct pinfold *pf)
{
	static const int advice[] = {
		[PINFOLD_ADVICE_NORMAL] = MADV_NORMAL,
		[PINFOLD_ADVICE_RANDOM] = MADV_RANDOM,
		[PINFOLD_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL,
	};
	uint64_t mapped = pf_store_file_count(pf->store) * pf->file_size;

	if (pf->config.advice != PINFOLD_ADVICE_NORMAL &&
	    madvise((void *)pf->base, mapped, advice[pf->config.advice]) != 0)
		pf_log(pf, PINFOLD_LOG_WARNING, "advice on the data mapping refused: %s", strerror(errno));
}

/* Says once what of the configuration's wishes the host refused. */
static void report_refusals(struct pinfold *pf)
{
	struct pinfold_store_stats stats;

	if ((pf->config.flags & PINFOLD_OPEN_READONLY) || pf_store_stat(pf->store, &stats) != 0)
		return;
	if (stats.io_refused[0])
		pf_log(pf, PINFOLD_LOG_WARNING, "io_ring: %s; the journal is written by %s", stats.io_refused,
		       stats.io_mode);
	if (stats.protect_refused[0])
		pf_log(pf, PINFOLD_LOG_WARNING, "%s", stats.protect_refused);
}

static int prefault_extent(void *ctx, const struct pinfold_extent *extent, bool published)
{
	struct pinfold *pf = ctx;

	if (published)
		pinfold_prefetch(pf, extent, 0, extent->len);
	return 0;
}

/* Data files are mapped through the kernel module's regions where faults are to be counted by it. */
static int open_store(struct pinfold *pf, const char *dir)
{
	struct pf_store_mapper mapper = { .ctx = pf->regions };
	bool counted = pf->config.source == PINFOLD_SOURCE_AUTO || pf->config.source == PINFOLD_SOURCE_KMOD;

	if (counted && !(pf->config.flags & (PINFOLD_OPEN_READONLY | PINFOLD_OPEN_STORE_ONLY)))
		mapper.map = pf_regions_map;
	return pf_store_open_mapped(dir, &pf->config, &mapper, &pf->store);
}

int pinfold_open(const char *dir, const struct pinfold_config *config, char *ret_error, size_t error_size,
		 struct pinfold **ret_pf)
{
	struct pinfold *pf;
	int r;

	pf_error_clear();
	if (!dir || !ret_pf) {
		r = pf_error(-EINVAL, "pinfold_open: dir and ret_pf must not be NULL");
		goto err;
	}
	pf = calloc(1, sizeof(*pf));
	if (!pf) {
		r = pf_error(-ENOMEM, "out of memory");
		goto err;
	}
	pf->control_fd = -1;
	pf->stop_fd = -1;
	pf->opened_ms = pf_now_ms();
	pthread_mutex_init(&pf->lock, NULL);

	r = pf_config_complete(config, &pf->config);
	if (r)
		goto err_free;
	r = pf_regions_new(&pf->regions);
	if (r)
		goto err_free;
	r = open_store(pf, dir);
	if (r)
		goto err_regions;
	r = pf_tables_open(pf->store, &pf->config);
	if (r)
		goto err_store;
	pf->base = pf_store_base(pf->store);
	pf->file_size = pf_store_file_size(pf->store);
	r = pf_prefetcher_new(pf->config.io_queue_depth, &pf->prefetcher);
	if (r)
		goto err_tables;
	advise_mapping(pf);
	report_refusals(pf);
	if (pf->config.prefault)
		pf_extent_foreach(pf->store, prefault_extent, pf);
	if (!(pf->config.flags & (PINFOLD_OPEN_READONLY | PINFOLD_OPEN_STORE_ONLY))) {
		r = pf_controller_start(pf);
		if (r)
			goto err_prefetcher;
	}
	*ret_pf = pf;
	return 0;

err_prefetcher:
	pf_prefetcher_free(pf->prefetcher);
err_tables:
	pf_tables_close(pf->store);
err_store:
	pf_store_close(pf->store);
err_regions:
	pf_regions_free(pf->regions);
err_free:
	pthread_mutex_destroy(&pf->lock);
	free(pf);
err:
	if (ret_error && error_size)
		snprintf(ret_error, error_size, "%s", pf_error_text());
	return r;
}

int pinfold_close(struct pinfold *pf)
{
	int r;

	if (!pf)
		return 0;
	if (pf->controlled)
		pf_controller_stop(pf);
	pf_prefetcher_free(pf->prefetcher);
	pf_tables_close(pf->store);
	r = pf_store_close(pf->store);
	pf_regions_free(pf->regions);
	pthread_mutex_destroy(&pf->lock);
	free(pf);
	return r;
}
