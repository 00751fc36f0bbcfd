// Images in memory and changes of them, for the tests of undo.
#pragma once
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "repair/apply.hpp"
#include "repair/undo.hpp"
#include "storage/memory.hpp"
#include "storage/overlay.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::repair::testing_undo {

using Bytes = std::vector<std::byte>;
using tests::pattern;

struct Step {
  std::uint64_t offset = 0;
  Bytes bytes;  // empty: a change of the length to `offset`
};

struct KnownChange {
  std::string name;
  Bytes before;
  std::vector<Step> steps;

  void make(storage::Device& device) const {
    for (const auto& step : steps)
      if (auto done = step.bytes.empty() ? device.resize(step.offset) : device.write(step.offset, step.bytes);
          !done)
        throw std::runtime_error(done.error().message);
  }
  [[nodiscard]] Bytes after() const {
    storage::MemoryDevice device(before);
    make(device);
    return device.bytes();
  }
};

inline const UndoIdentity somebody{
    .image = "disk.qcow2", .undo_file = "disk.qcow2.cowvet-undo", .cause = "a test", .made = 1'700'000'000};

inline base::Result<Applied> apply_change(const KnownChange& change, storage::Device& image,
                                          storage::Device& undo, const Publish& publish = {}) {
  storage::Overlay wanted(image);
  change.make(wanted);
  base::Progress progress;
  return apply(image, wanted, undo, somebody, publish, progress);
}

inline base::Result<Undone> take_back(storage::Device& image, storage::Device& undo_file,
                                      Force force = Force::no) {
  base::Progress progress;
  return undo(image, undo_file, force, progress);
}

inline base::Result<bool> recover_from(storage::Device& image, storage::Device& undo_file) {
  base::Progress progress;
  return recover(image, undo_file, progress);
}

// Data, 16 KiB of zeros, data.
inline Bytes sample(std::size_t size) {
  auto bytes = pattern(size, 1);
  if (size > 40'000) std::fill_n(bytes.begin() + 8192, 16384, std::byte{0});
  return bytes;
}

// One change of each kind that undo tells apart.
inline std::vector<KnownChange> changes() {
  return {
      {"within", sample(65536), {{1000, pattern(3000, 2)}, {30000, pattern(5, 3)}, {65000, pattern(100, 4)}}},
      {"into_a_hole", sample(65536), {{9000, pattern(10, 2)}, {16000, pattern(4000, 3)}}},
      {"zeros", sample(65536), {{1024, Bytes(4096)}, {10000, Bytes(500)}}},
      {"grown", sample(65536), {{100, pattern(100, 2)}, {70000, pattern(9000, 3)}}},
      {"grown_from_within_a_sector", sample(65000), {{64900, pattern(900, 2)}, {70000, {}}}},
      {"grown_by_nothing", sample(65000), {{65001, {}}}},
      {"cut", sample(65536), {{100, pattern(600, 2)}, {50000, {}}}},
      {"cut_within_a_hole", sample(65536), {{12000, {}}}},
      {"cut_to_nothing", sample(41000), {{0, {}}}},
      {"cut_and_grown", sample(65536), {{20000, {}}, {60000, {}}, {59000, pattern(100, 5)}}},
      {"begun_from_nothing", {}, {{700, pattern(3000, 2)}}},
  };
}

}  // namespace cowvet::repair::testing_undo
