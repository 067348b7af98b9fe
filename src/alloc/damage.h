/* damage.h - looks at all dressed blocks for what was written beside them, or after they were freed. Any context. */
#ifndef LAB_ALLOC_DAMAGE_H
#define LAB_ALLOC_DAMAGE_H

/* With `check:debug`, when the process ends: damage that no free has come to is reported. */
void lab_damage_look_at_end(void);

#endif
