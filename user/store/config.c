/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"
#include "store/format.h"
#include "store/store.h"

#include <string.h>

#define GIB (1ull << 30)

static bool is_power_of_two(uint64_t value)
{
	return value && !(value & (value - 1));
}

static int check_sizes(const struct pinfold_config *c)
{
	if (c->file_size < PF_FILE_SIZE_MIN || c->file_size > PF_FILE_SIZE_MAX || c->file_size % GIB)
		return pf_error(-EINVAL, "config: file_size is %llu; allowed: 1 GiB to 16 TiB, in whole GiB",
				(unsigned long long)c->file_size);
	if (c->max_mapped_size < c->file_size || c->max_mapped_size > (64ull << 40))
		return pf_error(-EINVAL, "config: max_mapped_size is %llu; allowed: file_size (%llu) to 64 TiB",
				(unsigned long long)c->max_mapped_size, (unsigned long long)c->file_size);
	if (!is_power_of_two(c->extent_size) || c->extent_size < PINFOLD_EXTENT_MIN ||
	    c->extent_size > PINFOLD_EXTENT_MAX)
		return pf_error(-EINVAL, "config: extent_size is %llu; allowed: a power of two, 2 MiB to 1 GiB",
				(unsigned long long)c->extent_size);
	/* 0 is the store's own, PF_JOURNAL_SIZE_DEFAULT where it is created */
	if (c->journal_size && (c->journal_size < PF_JOURNAL_SIZE_MIN || c->journal_size > PF_JOURNAL_SIZE_MAX))
		return pf_error(-EINVAL, "config: journal_size is %llu; allowed: 16 MiB to 64 GiB",
				(unsigned long long)c->journal_size);
	return 0;
}

static int check_rest(const struct pinfold_config *c)
{
	const uint32_t all =
		PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE | PINFOLD_OPEN_READONLY | PINFOLD_OPEN_STORE_ONLY;

	if (c->flags & ~all)
		return pf_error(-EINVAL, "config: flags is 0x%x; known: 0x%x", c->flags, all);
	if ((c->flags & PINFOLD_OPEN_READONLY) && (c->flags & (PINFOLD_OPEN_CREATE | PINFOLD_OPEN_EXCLUSIVE)))
		return pf_error(-EINVAL, "config: flags: READONLY excludes CREATE and EXCLUSIVE");
	if ((c->flags & PINFOLD_OPEN_EXCLUSIVE) && !(c->flags & PINFOLD_OPEN_CREATE))
		return pf_error(-EINVAL, "config: flags: EXCLUSIVE needs CREATE");
	if ((unsigned int)c->sync > PINFOLD_SYNC_NONE)
		return pf_error(-EINVAL, "config: sync is %d; allowed: 0 to %d", (int)c->sync, PINFOLD_SYNC_NONE);
	if ((unsigned int)c->advice > PINFOLD_ADVICE_SEQUENTIAL)
		return pf_error(-EINVAL, "config: advice is %d; allowed: 0 to %d", (int)c->advice,
				PINFOLD_ADVICE_SEQUENTIAL);
	if ((unsigned int)c->source > PINFOLD_SOURCE_KMOD)
		return pf_error(-EINVAL, "config: source is %d; allowed: 0 to %d", (int)c->source, PINFOLD_SOURCE_KMOD);
	if (c->flush_interval_ms > 60000)
		return pf_error(-EINVAL, "config: flush_interval_ms is %u; allowed: 1 to 60000", c->flush_interval_ms);
	if (c->io_queue_depth > 4096)
		return pf_error(-EINVAL, "config: io_queue_depth is %u; allowed: 1 to 4096", c->io_queue_depth);
	if (c->ring.sq_entries > 32768)
		return pf_error(-EINVAL, "config: ring.sq_entries is %u; allowed: 1 to 32768", c->ring.sq_entries);
	if (c->ring.cq_percent < 100 || c->ring.cq_percent > 1600)
		return pf_error(-EINVAL, "config: ring.cq_percent is %u; allowed: 100 to 1600", c->ring.cq_percent);
	if ((unsigned int)c->ring.polling > PINFOLD_POLLING_HYBRID)
		return pf_error(-EINVAL, "config: ring.polling is %d; allowed: 0 to %d", (int)c->ring.polling,
				PINFOLD_POLLING_HYBRID);
	if (c->ring.sq_idle_ms > 10000)
		return pf_error(-EINVAL, "config: ring.sq_idle_ms is %u; allowed: 1 to 10000", c->ring.sq_idle_ms);
	for (size_t i = 0; i < sizeof(c->reserved) / sizeof(c->reserved[0]); i++)
		if (c->reserved[i])
			return pf_error(-EINVAL, "config: reserved[%zu] is not 0", i);
	return 0;
}

static void pin_defaults(struct pinfold_pin_config *pin)
{
	static const struct pinfold_class_config classes[PINFOLD_PRIORITY_COUNT] = {
		[PINFOLD_PRIORITY_BACKGROUND] = { 20, 300000 },
		[PINFOLD_PRIORITY_QUERY_CRITICAL] = { 30, 30000 },
		[PINFOLD_PRIORITY_TAIL_LATENCY_CRITICAL] = { 50, 5000 },
	};
	struct { uint32_t *field, value;
	} defaults[] = {
		{ &pin->max_pinned_percent, 40 },  { &pin->pin_heat_percent, 70 },
		{ &pin->tail_heat_percent, 90 },   { &pin->unpin_heat_percent, 50 },
		{ &pin->pressure_percent, 85 },    { &pin->fault_spike_per_s, 1000 },
		{ &pin->learning_window_min, 30 }, { &pin->rebalance_interval_min, 10 },
		{ &pin->numa_miss_percent, 30 },   { &pin->tick_ms, 500 },
		{ &pin->sample_rate_per_s, 1000 }, { &pin->memory_pressure_percent, 85 },
		{ &pin->huge_percent, 60 },
	};

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (!*defaults[i].field)
			*defaults[i].field = defaults[i].value;
	for (int i = 0; i < PINFOLD_PRIORITY_COUNT; i++) {
		if (!pin->class_[i].budget_share_percent)
			pin->class_[i].budget_share_percent = classes[i].budget_share_percent;
		if (!pin->class_[i].max_pin_time_ms)
			pin->class_[i].max_pin_time_ms = classes[i].max_pin_time_ms;
	}
}

static int check_pin(const struct pinfold_pin_config *pin)
{
	struct { const char *name; uint32_t value; } percents[] = {
		{ "max_pinned_percent", pin->max_pinned_percent }, { "pin_heat_percent", pin->pin_heat_percent },
		{ "tail_heat_percent", pin->tail_heat_percent }, { "unpin_heat_percent", pin->unpin_heat_percent },
		{ "pressure_percent", pin->pressure_percent }, { "numa_miss_percent", pin->numa_miss_percent },
		{ "memory_pressure_percent", pin->memory_pressure_percent }, { "huge_percent", pin->huge_percent },
	};
	uint64_t shares = 0;

	for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
		if (percents[i].value > 100)
			return pf_error(-EINVAL, "config: pin.%s is %u; allowed: 1 to 100", percents[i].name,
					percents[i].value);
	if (pin->unpin_heat_percent > pin->pin_heat_percent)
		return pf_error(-EINVAL, "config: pin.unpin_heat_percent (%u) is above pin.pin_heat_percent (%u)",
				pin->unpin_heat_percent, pin->pin_heat_percent);
	if (pin->pin_heat_percent > pin->tail_heat_percent)
		return pf_error(-EINVAL, "config: pin.pin_heat_percent (%u) is above pin.tail_heat_percent (%u)",
				pin->pin_heat_percent, pin->tail_heat_percent);
	for (int i = 0; i < PINFOLD_PRIORITY_COUNT; i++)
		shares += pin->class_[i].budget_share_percent;
	if (shares > 100)
		return pf_error(-EINVAL, "config: pin.class_: budget shares add up to %llu %%; allowed: 100 %%",
				(unsigned long long)shares);
	return 0;
}

int pf_config_complete(const struct pinfold_config *config, struct pinfold_config *ret_config)
{
	struct pinfold_config c = { .size = sizeof(c) };
	int r;

	if (config) {
		if (config->size != 0 && config->size != sizeof(c))
			return pf_error(-EINVAL, "config: size is %u; this library's is %zu", config->size, sizeof(c));
		c = *config;
		c.size = sizeof(c);
	}
	c.file_size = c.file_size ? c.file_size : 32 * GIB;
	if (!c.max_mapped_size)
		c.max_mapped_size = c.file_size > 1024 * GIB ? c.file_size : 1024 * GIB;
	c.extent_size = c.extent_size ? c.extent_size : PINFOLD_EXTENT_DEFAULT;
	c.flush_interval_ms = c.flush_interval_ms ? c.flush_interval_ms : 10;
	c.io_queue_depth = c.io_queue_depth ? c.io_queue_depth : 128;
	c.ring.sq_entries = c.ring.sq_entries ? c.ring.sq_entries : 256;
	c.ring.cq_percent = c.ring.cq_percent ? c.ring.cq_percent : 200;
	c.ring.sq_idle_ms = c.ring.sq_idle_ms ? c.ring.sq_idle_ms : 50;
	pin_defaults(&c.pin);
	r = check_sizes(&c);
	if (r == 0)
		r = check_rest(&c);
	if (r == 0)
		r = check_pin(&c.pin);
	if (r == 0)
		*ret_config = c;
	return r;
}

void pf_config_ring(const struct pinfold_config *config, struct pf_ring_options *ret_wish)
{
	static const enum pf_ring_wait waits[] = {
		[PINFOLD_POLLING_INTERRUPT] = PF_RING_INTERRUPT,
		[PINFOLD_POLLING_POLLING] = PF_RING_POLLING,
		[PINFOLD_POLLING_HYBRID] = PF_RING_HYBRID,
	};

	*ret_wish = (struct pf_ring_options){
		.sq_entries = config->ring.sq_entries,
		.cq_entries = (uint32_t)((uint64_t)config->ring.sq_entries * config->ring.cq_percent / 100),
		.wait = waits[config->ring.polling],
		.sq_polling = config->ring.sq_polling,
		.sq_idle_ms = config->ring.sq_idle_ms,
	};
}
