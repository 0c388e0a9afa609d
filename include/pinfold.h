/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pinfold.h - keeps the hot extents of memory-mapped data resident.
 *
 * The embedding API in one include; each chapter can be included alone.
 */
#ifndef PINFOLD_H
#define PINFOLD_H

#include <pinfold/catalog.h>
#include <pinfold/config.h>
#include <pinfold/import.h>
#include <pinfold/lease.h>
#include <pinfold/live.h>
#include <pinfold/pin.h>
#include <pinfold/read.h>
#include <pinfold/residency.h>
#include <pinfold/store.h>
#include <pinfold/table.h>
#include <pinfold/types.h>

#endif
