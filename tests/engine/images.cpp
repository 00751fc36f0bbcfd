#include "tests/engine/images.hpp"

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

std::string findings(const storage::Device& device, Leaks leaks, bool deep) {
  analyzer::Options options;
  options.jobs = 1;
  options.deep = deep;
  findings::Collector collector(16);
  base::Progress progress;
  const auto verdict = analyzer::check(device, options, collector, progress);
  if (!verdict) return "the check was stopped: " + verdict.error().message;
  std::string text;
  for (const auto& f : verdict->findings) {
    if (f.severity < findings::Severity::leak ||
        (leaks != Leaks::none && f.severity == findings::Severity::leak))
      continue;
    if (f.rule->name == "refcount/leak-holds-table" &&
        (leaks == Leaks::tables_too ||
         (leaks == Leaks::allowed && f.detail.find(", 0 have no other owner") != std::string::npos)))
      continue;
    text += fmt::format("{} {} at {}", findings::to_string(f.severity), f.rule->name, f.where);
    if (f.host) text += fmt::format(" [{:#x} +{:#x}]", f.host->begin.raw(), f.host->length);
    text += fmt::format(" expected {}, actual {} {}\n", findings::to_string(f.expected),
                        findings::to_string(f.actual), f.detail);
  }
  return text;
}

corpus::BuiltImage build(std::string_view recipe) { return must(corpus::build(recipe)); }

std::vector<std::byte> content(const Disk& disk) {
  std::vector<std::byte> bytes(disk.size());
  must(disk.read(base::GuestOffset{0}, bytes));
  return bytes;
}

std::string qemu_objects(const storage::MemoryDevice& device, const Qcow2Disk& disk) {
  static const bool installed = std::system("qemu-img --version >/dev/null 2>&1") == 0;
  if (!installed || disk.backing_name() || disk.data_file_name() || disk.header().v2.crypt_method != 0)
    return {};
  const tests::Folder folder;
  const auto image = folder / "image";
  const auto raw = folder / "raw";
  std::ofstream(image, std::ios::binary)
      .write(reinterpret_cast<const char*>(device.bytes().data()),
             static_cast<std::streamsize>(device.bytes().size()));
  const auto run = [&](const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str());
  };
  if (run(fmt::format("qemu-img check -f qcow2 {}", image.string())) != 0)
    return "qemu-img check finds faults";
  const auto differs = [&](const std::string& options, const Disk& ours) {
    if (run(fmt::format("qemu-img convert -f qcow2 -O raw {} {} {}", options, image.string(),
                        raw.string())) != 0)
      return true;
    std::ifstream in(raw, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const auto own = content(ours);
    return bytes.size() != own.size() ||
           !std::equal(own.begin(), own.end(), reinterpret_cast<const std::byte*>(bytes.data()));
  };
  if (differs("", disk)) return "qemu-img reads other content";
  for (const auto& s : disk.snapshots())
    if (const auto snapshot = must(disk.snapshot_disk(s.id));
        snapshot->size() == disk.size() && differs(fmt::format("-l snapshot.id={}", s.id), *snapshot))
      return "qemu-img reads other content of snapshot " + s.id;
  return {};
}

}  // namespace cowvet::engine::testing_images
