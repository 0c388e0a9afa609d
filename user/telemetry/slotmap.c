/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * slotmap.c - slot arrays in BPF maps, and attaching probes.
 *
 * Each file has a map of its own, so that one day a client can be handed the
 * counters of its own file alone. The map is frozen: system calls can no longer
 * change it and it can only be mapped read-only, while the probes still write.
 */
#include "telemetry/slotmap.h"

#include <linux/perf_event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

_Static_assert(sizeof(struct pinfold_slot) == PINFOLD_SLOT_SIZE, "the slot is ABI");
_Static_assert(sizeof(struct pf_probe_thread) == 64, "one line per thread");

static libbpf_print_fn_t saved_print;

static int print_nothing(enum libbpf_print_level level, const char *format, va_list args)
{
	return 0;
}

void pf_libbpf_quiet(void)
{
	saved_print = libbpf_set_print(print_nothing);
}

void pf_libbpf_restore(void)
{
	libbpf_set_print(saved_print);
}

void pf_probe_configure(const struct pf_source_params *params, struct pf_probe_config *ret_config)
{
	bool power_of_two = !(params->file_size & (params->file_size - 1));
	struct timespec tick = {.tv_nsec = 4000000};

	clock_getres(CLOCK_MONOTONIC_COARSE, &tick); /* the only place where the kernel says how long a tick is */

	*ret_config = (struct pf_probe_config){
		.watch = {
			.base = params->base,
			.size = params->arena_size,
			.tick_ms_fixed = (uint32_t)(((uint64_t)tick.tv_nsec << PF_PROBE_TICK_SHIFT) / 1000000),
			.file_shift = power_of_two ? (uint8_t)__builtin_ctzll(params->file_size) : 0,
			.slice_shift = (uint8_t)params->slice_shift,
			.count_nodes = params->node_count > 1,
		},
		.file_size = params->file_size,
	};
}

int pf_slotmap_template(const struct pf_source_params *params)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);

	return bpf_map_create(BPF_MAP_TYPE_ARRAY, "pf_slots", sizeof(uint32_t), sizeof(struct pinfold_slot),
			      params->slice_count, &opts);
}

int pf_slotmap_init(struct pf_slotmap *slotmap, const struct pf_source_params *params, int outer_fd)
{
	slotmap->files = calloc(params->file_count, sizeof(*slotmap->files));
	if (!slotmap->files)
		return -ENOMEM;
	slotmap->outer_fd = outer_fd;
	slotmap->slice_count = params->slice_count;
	slotmap->file_count = params->file_count;
	for (uint32_t i = 0; i < params->file_count; i++)
		slotmap->files[i].fd = -1;
	return 0;
}

void pf_slotmap_done(struct pf_slotmap *slotmap)
{
	if (!slotmap->files)
		return;
	for (uint32_t i = 0; i < slotmap->file_count; i++) {
		if (slotmap->files[i].fd < 0)
			continue;
		munmap(slotmap->files[i].slots, slotmap->files[i].size);
		close(slotmap->files[i].fd);
	}
	free(slotmap->files);
	slotmap->files = NULL;
}

int pf_slotmap_add(struct pf_slotmap *slotmap, uint32_t file_id, const struct pinfold_slot **ret_slots)
{
	struct pf_source_params like = {.slice_count = slotmap->slice_count};
	size_t page_mask = (size_t)sysconf(_SC_PAGESIZE) - 1;
	size_t size = ((size_t)slotmap->slice_count * sizeof(struct pinfold_slot) + page_mask) & ~page_mask;
	void *slots;
	int fd, r;

	if (file_id >= slotmap->file_count)
		return pf_error(-ERANGE, "file %u: the arena has room for %u files", file_id, slotmap->file_count);
	if (slotmap->files[file_id].fd >= 0)
		return pf_error(-EEXIST, "file %u is watched already", file_id);
	fd = pf_slotmap_template(&like);
	if (fd < 0)
		return pf_error(fd, "file %u: slot map: %s", file_id, strerror(-fd));
	slots = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (slots == MAP_FAILED) {
		r = pf_error(-errno, "file %u: mapping %zu bytes of slots: %s", file_id, size, strerror(errno));
		goto err_close;
	}
	r = bpf_map_freeze(fd);
	if (!r)
		r = bpf_map_update_elem(slotmap->outer_fd, &file_id, &fd, BPF_ANY);
	if (r) {
		r = pf_error(-errno, "file %u: publishing its slots: %s", file_id, strerror(errno));
		goto err_unmap;
	}
	slotmap->files[file_id] = (struct pf_slotmap_file){.fd = fd, .slots = slots, .size = size};
	*ret_slots = slots;
	return 0;

err_unmap:
	munmap(slots, size);
err_close:
	close(fd);
	return r;
}

static int links_add(struct pf_links *links, struct bpf_link *link)
{
	struct bpf_link **grown;

	if (links->count == links->capacity) {
		uint32_t capacity = links->capacity ? links->capacity * 2 : 16;

		grown = realloc(links->links, capacity * sizeof(*grown));
		if (!grown) {
			bpf_link__destroy(link);
			return -ENOMEM;
		}
		links->links = grown;
		links->capacity = capacity;
	}
	links->links[links->count++] = link;
	return 0;
}

int pf_links_attach(struct pf_links *links, struct bpf_program *program)
{
	struct bpf_link *link = bpf_program__attach(program);

	if (!link)
		return -errno;
	return links_add(links, link);
}

int pf_links_attach_majors(struct pf_links *links, struct bpf_program *program)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_PAGE_FAULTS_MAJ,
		.sample_period = 1,
		.sample_type = PERF_SAMPLE_ADDR,
	};
	int cpu_count = libbpf_num_possible_cpus(), attached = 0, r;

	if (cpu_count < 0)
		return cpu_count;
	for (int cpu = 0; cpu < cpu_count; cpu++) {
		struct bpf_link *link;
		int fd = (int)syscall(SYS_perf_event_open, &attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);

		if (fd < 0 && errno == ENODEV)
			continue; /* possible, but not online */
		if (fd < 0)
			return -errno;
		link = bpf_program__attach_perf_event(program, fd);
		if (!link) {
			r = -errno;
			close(fd);
			return r;
		}
		r = links_add(links, link);
		if (r)
			return r;
		attached++;
	}
	return attached ? 0 : -ENODEV;
}

void pf_links_done(struct pf_links *links)
{
	while (links->count)
		bpf_link__destroy(links->links[--links->count]);
	free(links->links);
	*links = (struct pf_links){0};
}

int pf_probe_learn(struct bpf_program *program)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	int r = bpf_prog_test_run_opts(bpf_program__fd(program), &opts);

	return r < 0 ? -errno : 0;
}
