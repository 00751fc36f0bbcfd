// What a fuzz target says when a promise is broken. Promises: ends the process with the sentence, so that libFuzzer
// keeps the input; works in every build.
#pragma once
#include <cstdio>
#include <cstdlib>

namespace cowvet::fuzz {

inline void require(bool kept, const char* promise) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

}  // namespace cowvet::fuzz
