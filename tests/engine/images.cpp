#include "tests/engine/images.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>

#include "tests/storage/temporary.hpp"

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

std::string qemu_objects(const storage::MemoryDevice& device, const Qcow2Disk& disk) {
  static const bool installed = std::system("qemu-img --version >/dev/null 2>&1") == 0;
  if (!installed) return {};
  const tests::Folder folder;
  const auto image = folder / "image", raw = folder / "raw";
  std::ofstream(image, std::ios::binary)
      .write(reinterpret_cast<const char*>(device.bytes().data()),
             static_cast<std::streamsize>(device.bytes().size()));
  const auto run = [](const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
  };
  if (!run(fmt::format("qemu-img check -f qcow2 {}", image.string()))) return "qemu-img check finds faults";
  if (!run(fmt::format("qemu-img convert -f qcow2 -O raw {} {}", image.string(), raw.string())))
    return "qemu-img can't read it";
  std::ifstream in(raw, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  return std::ranges::equal(std::as_bytes(std::span(bytes)), content(disk)) ? ""
                                                                            : "qemu-img reads other content";
}

}  // namespace cowvet::engine::testing_images
