// The chains and operations whose sequences are explored. Promises: what an operation does is fixed before it
// begins, so that it can be done again, to the same end, on whatever a crash left of it.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/engine/chain_files.hpp"

namespace cowvet::crash {

using engine::testing_images::ChainFiles;

// Files "l0" (the lowest) to "l<n-1>", the active layer, and "other", which is of no chain yet.
struct Shape {
  std::string name;
  std::size_t layers = 2;
  std::function<void(ChainFiles&)> make;
  bool slow = false;  // each opening derives a key
};
[[nodiscard]] std::vector<Shape> shapes();

// An operation that was prepared for a chain.
struct Step {
  std::function<base::Result<void>(ChainFiles&)> perform;
  std::vector<std::string> spoiled{};  // files whose content is not promised until it is done
  std::vector<std::string> invalid{};  // nor afterwards
  std::string active{};                // the topmost layer afterwards
  bool makes_new = false;              // the active layer is the new file "new"
  bool renames = false;                // the active layer may show something else afterwards
  bool partial = false;                // the active layer may show sectors of before and of after, mixed
};
struct ChainOperation {
  std::string name;
  // Nothing: it makes no sense on this chain.
  std::function<std::optional<Step>(ChainFiles&, const std::string& active)> bind;
};
[[nodiscard]] std::vector<ChainOperation> chain_operations();

}  // namespace cowvet::crash
