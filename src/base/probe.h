/*
 * probe.h - USDT probes: a nop each, and a note in the library that tells tracers (bpftrace, perf, gdb) where it is and
 * where its arguments are. None is on a fast path. Any context.
 *
 * Where systemtap's header is not there when the library is built, there are none.
 */
#ifndef LAB_BASE_PROBE_H
#define LAB_BASE_PROBE_H

#if defined(__has_include)
#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define LAB_HAS_PROBES 1
#endif
#endif

#ifdef LAB_HAS_PROBES
#define LAB_PROBE1(provider, name, a)       DTRACE_PROBE1(provider, name, a)
#define LAB_PROBE2(provider, name, a, b)    DTRACE_PROBE2(provider, name, a, b)
#define LAB_PROBE3(provider, name, a, b, c) DTRACE_PROBE3(provider, name, a, b, c)
#else
#define LAB_PROBE1(provider, name, a)       ((void)(a))
#define LAB_PROBE2(provider, name, a, b)    ((void)(a), (void)(b))
#define LAB_PROBE3(provider, name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
