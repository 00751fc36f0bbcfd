// Images for tests of the engine: built by the corpus, in memory, with all that is needed to open them.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/result.hpp"
#include "corpus/builder/recipe.hpp"
#include "engine/qcow2_disk.hpp"
#include "model/found.hpp"
#include "storage/memory.hpp"

namespace cowvet::engine::testing_images {

// A disk of one repeated pattern that no cluster of the corpus has at the same place: for backing files.
class PatternDisk final : public Disk {
 public:
  explicit PatternDisk(std::uint64_t size) : size_(size) {}
  [[nodiscard]] static std::byte at(std::uint64_t offset) {
    return static_cast<std::byte>(offset / 509 * 7 + 3);
  }
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool writable() const override { return false; }
  [[nodiscard]] base::Result<void> read(base::GuestOffset at, base::MutableBytes into) const override;
  [[nodiscard]] base::Result<Extent> extent(base::GuestOffset, std::uint64_t most) const override {
    return Extent{.length = most, .allocated = true, .data = true};
  }
  [[nodiscard]] base::Result<void> write(base::GuestOffset, base::ConstBytes) override { return refuse(); }
  [[nodiscard]] base::Result<void> zero(base::GuestOffset, std::uint64_t, Unmap) override { return refuse(); }
  [[nodiscard]] base::Result<void> discard(base::GuestOffset, std::uint64_t) override { return refuse(); }
  [[nodiscard]] base::Result<void> flush() override { return {}; }

 private:
  static base::Result<void> refuse() { return base::fail(base::ErrorKind::usage, "a pattern"); }
  std::uint64_t size_;
};

using model::findings;
using model::Leaks;
using Bytes = std::vector<std::byte>;

[[nodiscard]] inline Bytes filled(std::size_t length, int value) {
  return Bytes(length, static_cast<std::byte>(value));
}
[[nodiscard]] inline base::GuestOffset at(std::uint64_t offset) { return base::GuestOffset{offset}; }

[[nodiscard]] corpus::BuiltImage build(std::string_view recipe);

template <class T>
[[nodiscard]] T must(base::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}
inline void must(const base::Result<void>& result) {
  if (!result) throw std::runtime_error(result.error().message);
}

[[nodiscard]] std::vector<std::byte> content(const Disk& disk);

// What the installed qemu-img says against the image: faults, or other content than ours. Empty: nothing, or it is not
// installed. Images that are one unencrypted file only.
[[nodiscard]] std::string qemu_objects(const storage::MemoryDevice& device, const Qcow2Disk& disk);

}  // namespace cowvet::engine::testing_images
