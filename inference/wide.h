// NODE_WIDE: a loop over pixels, compiled once more for wider registers and chosen at start. Integers and single
// rounded float32 operations give the same bits at any width. (Sanitizers run before such a choice can be made.)
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define NODE_WIDE __attribute__((target_clones("default", "avx2")))
#else
#define NODE_WIDE
#endif
