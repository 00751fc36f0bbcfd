// rejects: constant expression|consteval
// A rule that is not in the table can't be named.
#include "findings/rule.hpp"

int main() {
  using namespace cowvet::findings::literals;
#ifdef GOOD
  return "header/magic"_rule->code;
#else
  return "header/majic"_rule->code;
#endif
}
