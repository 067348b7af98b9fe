/* config.h - how the settings are read, and changed. */
#ifndef LAB_ALLOC_CONFIG_H
#define LAB_ALLOC_CONFIG_H

/* Takes the settings from the environment; what is wrong is reported once and ignored. */
void lab_config_read(void);

/* Chooses between fast and slow calls, from the settings. */
void lab_config_apply(void);

#endif
