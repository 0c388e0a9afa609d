/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * engine.h - the open store as the engine's own files see it.
 *
 * DESIGN
 * The engine adds no state to the data: everything durable is the store's. It
 * owns one thread, the controller, which turns the loop of telemetry, policy
 * and residency, and the live board on which that loop's state is published.
 *
 * Locking: @lock covers telemetry, policy, slices and the board. It is never
 * held across reading data in or a journal wait. @turn_lock makes turns one at
 * a time; it is taken before @lock. The read and commit paths take neither.
 */
#ifndef PF_ENGINE_H
#define PF_ENGINE_H

#include <pinfold.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "policy/policy.h"
#include "residency/pin_map.h"
#include "residency/residency.h"
#include "store/store.h"
#include "telemetry/regions.h"
#include "telemetry/telemetry.h"

struct pf_board;
struct pf_slices;

struct pinfold {
	struct pf_store *store;
	struct pf_regions *regions; /* the data files, as the kernel module knows them */
	struct pinfold_config config;
	const char *base;     /* of the data arena; for the life of the handle */
	uint64_t file_size;
	bool controlled;      /* telemetry and controller run */

	struct pf_prefetcher *prefetcher;

	pthread_mutex_t turn_lock;
	pthread_mutex_t lock;
	struct pf_telemetry *telemetry;
	struct pf_policy *policy;
	struct pf_slices *slices;
	struct pf_pin_map *pins;
	struct pf_board *board;
	struct pf_memory_limits limits; /* as of the last budget reading */
	struct pf_budget budget;
	uint64_t budget_read_ms;
	_Atomic uint32_t watched_files; /* known to telemetry and pins */
	struct pf_snapshot last;        /* the latest; slices owned by telemetry */

	pthread_t controller;
	int control_fd;       /* listening socket; -1: none */
	int stop_fd;          /* eventfd that ends the controller */
	char source_told[32]; /* the telemetry source that was last logged */
	uint64_t opened_ms;
	uint64_t turn_count, turn_ns_total;
};

/** Public entries check their arguments so; the text names the condition. */
#define REQUIRE(condition) \
	do { \
		if (!(condition)) \
			return pf_error(-EINVAL, "%s: need %s", __func__, #condition); \
	} while (0)

/** CLOCK_MONOTONIC in milliseconds. */
uint64_t pf_now_ms(void);

/** Hands a message to the configured callback, if any. */
void pf_log(struct pinfold *pf, enum pinfold_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- controller.c ---- */

int pf_controller_start(struct pinfold *pf);
void pf_controller_stop(struct pinfold *pf);

/* ---- budget.c ---- */

/** Reads limits afresh if the last reading is older than two seconds. Under @lock. */
void pf_budget_refresh(struct pinfold *pf, uint64_t now_ms);

/* ---- control.c ---- */

int pf_control_listen(struct pinfold *pf);
void pf_control_close(struct pinfold *pf);
/** Serves one waiting client. Controller thread. */
void pf_control_serve(struct pinfold *pf);

/* ---- pins.c ---- */

/** Carries out one decision; 0 or the kernel's -errno. Without @lock. */
int pf_act(struct pinfold *pf, const struct pf_decision *decision);
/** Slices that cover [offset, offset + size) of @extent (size 0: all). -ERANGE past its end. */
int pf_slice_span(struct pinfold *pf, const struct pinfold_extent *extent, uint64_t offset, uint64_t size,
		  uint32_t *ret_index, uint32_t *ret_count);
/** Releases explicit pins on the span; -ENOENT if there is none. */
int pf_unpin_span(struct pinfold *pf, uint32_t file_id, uint32_t index, uint32_t count);

/** The mapped range of @extent's bytes [offset, offset + size), for residency. */
struct pf_range pf_range_of(struct pinfold *pf, uint32_t file_id, uint64_t offset, uint64_t size);

#endif
