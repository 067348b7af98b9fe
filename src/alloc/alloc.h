/* alloc.h - all of this layer. */
#ifndef LAB_ALLOC_ALLOC_H
#define LAB_ALLOC_ALLOC_H

#include "alloc/allocate.h"
#include "alloc/background.h"
#include "alloc/cgroup.h"
#include "alloc/config.h"
#include "alloc/decay.h"
#include "alloc/exclusive.h"
#include "alloc/failure.h"
#include "alloc/gfp.h"
#include "alloc/limit.h"
#include "alloc/objects.h"
#include "alloc/owned.h"
#include "alloc/release.h"
#include "alloc/request.h"
#include "alloc/reserve_api.h"
#include "alloc/settings.h"

#endif
