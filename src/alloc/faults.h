/* faults.h - failures on purpose (lab_faults_set, include/labyrinth/kernel/support.h). Any context. */
#ifndef LAB_ALLOC_FAULTS_H
#define LAB_ALLOC_FAULTS_H

#include "base/compiler.h"

/* "interval,probability,space,times", as the kernel's failslab=; times may be -1. False: it is not that. */
bool lab_faults_set_text(const char *text);

#endif
