// SPDX-License-Identifier: GPL-2.0-only
/*
 * trace.c - makes the tracepoints of trace.h.
 */
#ifndef __CHECKER__
#define CREATE_TRACE_POINTS
#include "trace.h"
#endif
