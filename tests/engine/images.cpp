#include "tests/engine/images.hpp"

#include <fmt/format.h>

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
    if (f.severity < findings::Severity::leak || (leaks != Leaks::none && f.severity == findings::Severity::leak)) continue;
    if (f.rule->name == "refcount/leak-holds-table" &&
        (leaks == Leaks::tables_too ||
         (leaks == Leaks::allowed && f.detail.find(", 0 have no other owner") != std::string::npos)))
      continue;
    text += fmt::format("{} {} at {}", findings::to_string(f.severity), f.rule->name, f.where);
    if (f.host) text += fmt::format(" [{:#x} +{:#x}]", f.host->begin.raw(), f.host->length);
    text += fmt::format(" expected {}, actual {} {}\n", findings::to_string(f.expected), findings::to_string(f.actual),
                        f.detail);
  }
  return text;
}

corpus::BuiltImage build(std::string_view recipe) { return must(corpus::build(recipe)); }

std::vector<std::byte> content(const Disk& disk) {
  std::vector<std::byte> bytes(disk.size());
  must(disk.read(base::GuestOffset{0}, bytes));
  return bytes;
}

}  // namespace cowvet::engine::testing_images
