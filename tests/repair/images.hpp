// Images for tests of repair/: built from recipes, in memory, seen by View.
#pragma once
#include <algorithm>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "corpus/builder/recipe.hpp"
#include "repair/view.hpp"
#include "storage/memory.hpp"

namespace cowvet::repair::testing_images {

template <class T>
[[nodiscard]] T must(base::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// A built image on devices.
struct Devices {
  explicit Devices(const corpus::BuiltImage& built) : image(built.file.bytes()) {
    if (built.data_file) data.emplace(built.data_file->bytes());
  }
  explicit Devices(std::string_view recipe) : Devices(must(corpus::build(recipe))) {}
  [[nodiscard]] ViewOptions options() const { return {.data_file = data ? &*data : nullptr}; }

  storage::MemoryDevice image;
  std::optional<storage::MemoryDevice> data;
};

[[nodiscard]] inline std::vector<Piece> pieces(const View& view, const Layer& layer) {
  std::vector<Piece> all;
  view.visit(layer, [&](const Piece& piece) {
    all.push_back(piece);
    return true;
  });
  return all;
}

// A word of a table, as it lies on disk.
inline void put(storage::Device& device, std::uint64_t at, std::uint64_t word) {
  std::array<std::byte, 8> bytes{};
  base::store_be<std::uint64_t, 0>(std::span<std::byte, 8>(bytes), word);
  if (!device.write(at, bytes)) throw std::runtime_error("a device that can't be written");
}

}  // namespace cowvet::repair::testing_images
