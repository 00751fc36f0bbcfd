// Lines that show a tree. Promises: without recursion, since chains may be as deep as a folder has files.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace cowvet::reports {

// `line` writes one line, with what has to stand in front of it, and says whether to go on to the `children`.
inline void draw_tree(std::size_t root,
                      const std::function<bool(std::size_t, const std::string& prefix)>& line,
                      const std::function<const std::vector<std::size_t>&(std::size_t)>& children,
                      const std::string& indent = {}) {
  struct Due {
    std::size_t node;
    std::string prefix;
    bool root, last;
  };
  std::vector<Due> due{{root, indent, true, true}};
  while (!due.empty()) {
    const auto [index, prefix, is_root, last] = std::move(due.back());
    due.pop_back();
    if (!line(index, is_root ? prefix : prefix + (last ? "└─ " : "├─ "))) continue;
    const auto below = is_root ? prefix : prefix + (last ? "   " : "│  ");
    const auto& list = children(index);
    for (std::size_t i = list.size(); i-- > 0;) due.push_back({list[i], below, false, i + 1 == list.size()});
  }
}

}  // namespace cowvet::reports
