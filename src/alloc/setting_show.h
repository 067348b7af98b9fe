/* setting_show.h - what a setting is now, and where that comes from, for people. Any context. */
#ifndef LAB_ALLOC_SETTING_SHOW_H
#define LAB_ALLOC_SETTING_SHOW_H

#include "alloc/setting.h"

/* Its value, as it would be given. */
void lab_setting_show(struct lab_text *text, const struct lab_setting *setting);
const char *lab_source_name(enum lab_source source);
enum lab_source lab_setting_source(const struct lab_setting *setting);

#endif
