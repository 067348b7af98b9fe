/* config.h - how the settings are read, and changed. */
#ifndef LAB_ALLOC_CONFIG_H
#define LAB_ALLOC_CONFIG_H

#include <stddef.h>

/* Takes the settings from the environment; what is wrong is reported once and ignored. */
void lab_config_read(void);

/* Decimal digits, then perhaps one of K, M, G, T. Returns what follows; NULL if it is no size. */
const char *lab_parse_size(const char *text, size_t *value);

/* Chooses between fast and slow calls, from the settings. */
void lab_config_apply(void);

#endif
