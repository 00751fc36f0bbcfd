// The pages of docs/ that are made from tables: docs/rules.md from the rule table, docs/format.md from the
// field tables. Promises: a page says what the program does, since both read the same table; tests compare
// the committed pages.
#pragma once
#include <span>
#include <string>
#include <string_view>

namespace cowvet::reports {

struct Page {
  std::string_view name;  // "rules.md", below docs/
  std::string (*text)();
};
[[nodiscard]] std::span<const Page> all_pages();

}  // namespace cowvet::reports
