/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * controller.c - the one thread: sense, decide, act, publish, every tick.
 *
 *	telemetry turn --snapshot--> policy --decisions--> residency
 *	      ^                        ^                      |
 *	      +------ slices (store) --+---- results ---------+
 *
 * It runs as SCHED_BATCH, so its waking preempts no thread of the program, but with the program's own
 * weight: the readers of what is to be pinned stall until it is, so on busy cores pins must not come last.
 *
 * Acting may read hundreds of MiB and runs without the lock; the decisions are
 * policy's until its next turn, which turn_lock keeps away meanwhile.
 */
#include "engine/engine.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/board.h"
#include "engine/slices.h"

/* What a turn costs is counted in CPU time: on a busy machine the thread waits for its turn. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * PF_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- sense ---- */

static int watch_new_files(struct pinfold *pf)
{
	uint32_t count = pf_store_file_count(pf->store);
	int r = 0;

	for (; pf->watched_files < count && r == 0; pf->watched_files += r == 0) {
		uint32_t file_id = pf->watched_files;
		int fd = pf_store_file_fd(pf->store, file_id);

		r = pf_pin_map_add(pf->pins, file_id * pf->file_size, pf->file_size, fd);
		if (r == 0)
			r = pf_telemetry_add_file(pf->telemetry, file_id, fd);
	}
	return r;
}

/* Says which source counts, at first and whenever another one took over. */
static void tell_source(struct pinfold *pf)
{
	struct pf_telemetry_info info;

	pf_telemetry_info(pf->telemetry, &info);
	if (!strcmp(info.source, pf->source_told))
		return;
	pf_log(pf, pf->source_told[0] ? PINFOLD_LOG_WARNING : PINFOLD_LOG_INFO, "telemetry: %s%s%s%s%s", info.source,
	       pf->source_told[0] ? " in place of " : "", pf->source_told, info.missing[0] ? "; missing: " : "",
	       info.missing);
	strcpy(pf->source_told, info.source);
}

static void slice_status(void *ctx, uint32_t file_id, uint32_t index, struct pf_slice_status *ret_status)
{
	struct pinfold *pf = ctx;
	const struct pf_slice_use *use = pf_slices_at(pf->slices, file_id, index);
	struct pf_pin_view view = { 0 };

	if (use->in_use)
		pf_policy_view(pf->policy, file_id, index, &view);
	ret_status->in_use = use->in_use;
	ret_status->pinned = view.pinned;
	ret_status->extent_flags = use->extent_flags;
}

/* ---- publish ---- */

static uint8_t slice_state(const struct pf_slice_view *view, const struct pf_pin_view *pin)
{
	if (pin->pinned)
		return pin->folded ? PINFOLD_SLICE_FOLDED : PINFOLD_SLICE_PINNED;
	return view->resident_pages && view->resident_pages != UINT32_MAX ? PINFOLD_SLICE_CACHED : PINFOLD_SLICE_ABSENT;
}

static void fill_slice(struct pinfold *pf, const struct pf_slice_view *view, const struct pf_pin_view *pin,
		       struct pf_board_slice *ret_slice)
{
	const struct pinfold_slot *slot = pf_telemetry_slot(pf->telemetry, view->file_id, view->index);

	memset(ret_slice, 0, sizeof(*ret_slice)); /* padding too: it is compared */
	ret_slice->since_ms = pin->since_ms;
	ret_slice->expires_ms = pin->expires_ms;
	ret_slice->view = (struct pinfold_live_slice){
		.file_id = view->file_id,
		.index = view->index,
		.state = slice_state(view, pin),
		.priority = (uint8_t)pin->priority,
		.pattern = view->pattern,
		.reason = (uint8_t)pin->reason,
		.heat = view->heat,
		.confidence = view->confidence,
		.fault_rate = view->fault_rate,
		.stall_rate = view->stall_rate,
		.resident_pages = view->resident_pages,
		.huge_pages = pin->folded ? (uint32_t)(pf->slices->slice_size / (2ull << 20)) : 0,
		.refused_errno = pin->refused_errno,
	};
	if (!slot)
		return;
	ret_slice->view.minor = slot->minor;
	ret_slice->view.major = slot->major;
	ret_slice->view.write = slot->write;
	ret_slice->view.stall_ns = slot->stall_ns;
	ret_slice->view.refaulted = slot->refaulted;
	ret_slice->view.evicted = slot->evicted;
	for (int i = 0; i < PINFOLD_SLOT_NODES; i++)
		ret_slice->view.node_faults[i] = (uint32_t)slot->node[i];
	memcpy(ret_slice->view.latency, slot->latency, sizeof(ret_slice->view.latency));
}

static void publish_slices(struct pinfold *pf)
{
	double tick_s = pf->config.pin.tick_ms / 1000.0;
	uint64_t n = 0;

	for (uint64_t i = 0; i < pf->last.slice_count; i++) {
		const struct pf_slice_view *view = &pf->last.slices[i];
		struct pf_board_slice slice;
		struct pf_pin_view pin;

		if (!view->in_use)
			continue;
		pf_policy_view(pf->policy, view->file_id, view->index, &pin);
		fill_slice(pf, view, &pin, &slice);
		pf_board_slice(pf->board, n++, &slice);
		pf_board_cell(pf->board, view->file_id, view->index, (uint64_t)(view->fault_rate * tick_s), view->heat,
			      slice.view.state);
	}
	pf_board_head(pf->board)->slice_count = n < PF_BOARD_SLICES_MAX ? n : PF_BOARD_SLICES_MAX;
}

static void publish_info(struct pinfold *pf, uint64_t now_ms)
{
	struct pinfold_live_info *info = &pf_board_head(pf->board)->info;
	struct pf_telemetry_info telemetry;

	pf_telemetry_info(pf->telemetry, &telemetry);
	info->pid = getpid();
	info->open_ms = now_ms - pf->opened_ms;
	info->slice_size = pf->slices->slice_size;
	info->slice_count = pf->slices->in_use_count;
	info->turn_count = pf->turn_count;
	info->turn_ns_total = pf->turn_ns_total;
	info->sample_count = telemetry.sample_count;
	info->sample_hit_count = telemetry.sample_hit_count;
	info->sample_ns_total = telemetry.sample_ns_total;
	info->lost_events = telemetry.lost_events;
	memcpy(info->source, telemetry.source, sizeof(info->source));
	memcpy(info->missing, telemetry.missing, sizeof(info->missing));
	pf_policy_stat(pf->policy, &pf->budget, &info->pin);
	snprintf(info->pin.effective_memory_limit, sizeof(info->pin.effective_memory_limit), "%s",
		 pf->limits.limit_name ? pf->limits.limit_name : "");
	pf_store_stat(pf->store, &info->store);
	info->pin_config = pf->config.pin;
}

static void publish_decision(struct pinfold *pf, const struct pf_decision *decision, int result)
{
	struct pinfold_live_decision record = {
		.time_ms = pf_now_ms() - pf->opened_ms,
		.file_id = decision->file_id,
		.index = decision->index,
		.slice_count = decision->slice_count,
		.action = (uint8_t)decision->action,
		.priority = (uint8_t)decision->priority,
		.reason = (uint8_t)decision->reason,
		.result = result,
		.heat = decision->heat,
	};

	pf_board_begin(pf->board);
	pf_board_decision(pf->board, &record);
	pf_board_end(pf->board);
}

/* ---- the turn ---- */

static void act_on(struct pinfold *pf, const struct pf_decision *decisions, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int r;

		pthread_mutex_unlock(&pf->lock);
		r = pf_act(pf, &decisions[i]);
		if (r)
			pf_log(pf, PINFOLD_LOG_WARNING, "%s", pf_error_text());
		pthread_mutex_lock(&pf->lock);
		pf_policy_result(pf->policy, &decisions[i], r, pf_now_ms());
		publish_decision(pf, &decisions[i], r);
	}
}

int pinfold_controller_turn(struct pinfold *pf)
{
	const struct pf_decision *decisions;
	const struct pf_snapshot *snapshot;
	uint64_t started = cpu_ns(), now_ms = pf_now_ms();
	size_t count;
	int r;

	if (!pf || !pf->controlled)
		return pf_error(-EOPNOTSUPP, "this handle was opened without a controller (read-only or store-only)");
	pthread_mutex_lock(&pf->turn_lock);
	pthread_mutex_lock(&pf->lock);
	r = watch_new_files(pf);
	tell_source(pf);
	if (r == 0)
		r = pf_slices_refresh(pf->slices, pf);
	if (r)
		goto out;
	pf_budget_refresh(pf, now_ms);
	r = pf_telemetry_turn(pf->telemetry, now_ms, slice_status, pf, &snapshot);
	if (r)
		goto out;
	pf->last = *snapshot;
	r = pf_policy_decide(pf->policy, snapshot, &pf->budget, &decisions, &count);
	if (r)
		goto out;
	pf->turn_count++;
	pf->turn_ns_total += cpu_ns() - started;
	act_on(pf, decisions, count);
	started = cpu_ns();
	pf_board_begin(pf->board);
	publish_slices(pf);
	publish_info(pf, pf_now_ms());
	pf_board_row(pf->board, pf_now_ms());
	pf_board_end(pf->board);
	pf->turn_ns_total += cpu_ns() - started;
out:
	pthread_mutex_unlock(&pf->lock);
	pthread_mutex_unlock(&pf->turn_lock);
	return r;
}

static void *controller_main(void *arg)
{
	struct pinfold *pf = arg;
	struct sched_param param = { 0 };
	uint64_t next_ms = pf_now_ms();
	bool failing = false;

	pthread_setname_np(pthread_self(), "pinfold-ctl");
	pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
	for (;;) {
		struct pollfd fds[] = { { .fd = pf->stop_fd, .events = POLLIN },
					{ .fd = pf->control_fd, .events = POLLIN } };
		uint64_t now = pf_now_ms();
		int r;

		poll(fds, 2, now < next_ms ? (int)(next_ms - now) : 0);
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents & POLLIN)
			pf_control_serve(pf);
		now = pf_now_ms();
		if (now < next_ms)
			continue;
		r = pinfold_controller_turn(pf);
		if (r && !failing)
			pf_log(pf, PINFOLD_LOG_ERROR, "the controller cannot take its turn: %s", pf_error_text());
		failing = r != 0;
		next_ms += pf->config.pin.tick_ms;
		if (next_ms < pf_now_ms())
			next_ms = pf_now_ms() + pf->config.pin.tick_ms; /* a turn took longer than a tick */
	}
}

/* ---- start and stop ---- */

static int announce(struct pinfold *pf)
{
	char note[32];

	snprintf(note, sizeof(note), "%d", pf_board_fd(pf->board));
	return pf_store_lock_note(pf->store, note);
}

int pf_controller_start(struct pinfold *pf)
{
	struct pf_watch watch = {
		.base = pf->base,
		.file_size = pf->file_size,
		.arena_size = pf_store_arena_size(pf->store),
	};
	struct pf_telemetry_config config = {
		.source = pf->config.source,
		.regions = pf->regions,
		.sample_rate_per_s = pf->config.pin.sample_rate_per_s,
		.no_sampling = pf->config.no_sampling,
		.learning_window_min = pf->config.pin.learning_window_min,
	};
	uint64_t slice_size;
	int r;

	pthread_mutex_init(&pf->turn_lock, NULL);
	r = pf_telemetry_new(&watch, &config, &pf->telemetry);
	if (r)
		goto err_mutex;
	slice_size = pf_telemetry_slice_size(pf->telemetry);
	r = pf_policy_new(&pf->config.pin, slice_size, &pf->policy);
	if (r)
		goto err_telemetry;
	r = pf_slices_new(pf->file_size, slice_size, &pf->slices);
	if (r)
		goto err_policy;
	r = pf_pin_map_new(watch.arena_size, &pf->pins);
	if (r)
		goto err_slices;
	r = pf_board_new(pf->opened_ms, pf->slices->per_file, &pf->board);
	if (r)
		goto err_pins;
	pf->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (pf->stop_fd < 0) {
		r = pf_error(-errno, "eventfd: %s", strerror(errno));
		goto err_board;
	}
	r = pf_control_listen(pf);
	if (r)
		pf_log(pf, PINFOLD_LOG_WARNING, "no control socket: %s", pf_error_text());
	pf->controlled = true;
	pinfold_controller_turn(pf); /* the board is complete before anyone can look */
	r = announce(pf);
	if (r)
		goto err_control;
	r = pthread_create(&pf->controller, NULL, controller_main, pf);
	if (r) {
		r = pf_error(-r, "cannot start the controller thread: %s", strerror(r));
		goto err_control;
	}
	return 0;

err_control:
	pf->controlled = false;
	pf_control_close(pf);
	close(pf->stop_fd);
err_board:
	pf_board_free(pf->board);
err_pins:
	pf_pin_map_free(pf->pins);
err_slices:
	pf_slices_free(pf->slices);
err_policy:
	pf_policy_free(pf->policy);
err_telemetry:
	pf_telemetry_free(pf->telemetry);
err_mutex:
	pthread_mutex_destroy(&pf->turn_lock);
	return r;
}

void pf_controller_stop(struct pinfold *pf)
{
	uint64_t one = 1;

	if (write(pf->stop_fd, &one, sizeof(one)) != sizeof(one))
		pf_log(pf, PINFOLD_LOG_ERROR, "cannot stop the controller: %s", strerror(errno));
	pthread_join(pf->controller, NULL);
	pf->controlled = false;
	pf_store_lock_note(pf->store, "");
	pf_control_close(pf);
	close(pf->stop_fd);
	pf_board_free(pf->board);
	pf_pin_map_free(pf->pins);
	pf_slices_free(pf->slices);
	pf_policy_free(pf->policy);
	pf_telemetry_free(pf->telemetry);
	pthread_mutex_destroy(&pf->turn_lock);
}
