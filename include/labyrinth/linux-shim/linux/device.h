/* linux/device.h - for kernel sources on Labyrinth: docs/gfp.md. */
#ifndef LABYRINTH_SHIM_DEVICE_H
#define LABYRINTH_SHIM_DEVICE_H

#include <labyrinth/kernel/devres.h>

#endif
