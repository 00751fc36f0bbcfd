#include "tests/engine/images.hpp"

namespace cowvet::engine::testing_images {

base::Result<void> PatternDisk::read(base::GuestOffset offset, base::MutableBytes into) const {
  if (offset.raw() + into.size() > size_) return refuse();
  for (std::size_t i = 0; i < into.size(); ++i) into[i] = at(offset.raw() + i);
  return {};
}

corpus::BuiltImage build(std::string_view recipe) { return must(corpus::build(recipe)); }

std::vector<std::byte> content(const Disk& disk) {
  std::vector<std::byte> bytes(disk.size());
  must(disk.read(base::GuestOffset{0}, bytes));
  return bytes;
}

}  // namespace cowvet::engine::testing_images
