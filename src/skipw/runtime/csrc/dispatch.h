/* Which vector unit serves; not for boards, whose compiler knows the processor. */
#ifndef SKIPW_DISPATCH_H
#define SKIPW_DISPATCH_H

/* The best variant that this processor runs, or the wished one ("plain", "avx2", "avx512") if it runs it; returns the
 * name of what serves from now on. */
const char *skipw_choose(const char *wish);

#endif
