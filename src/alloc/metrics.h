/* metrics.h - figures for programs. Any context. */
#ifndef LAB_ALLOC_METRICS_H
#define LAB_ALLOC_METRICS_H

#include "alloc/figures.h"

void lab_stats_json(const struct lab_printer *printer, const struct lab_census *census);
void lab_stats_openmetrics(const struct lab_printer *printer, const struct lab_census *census);

#endif
