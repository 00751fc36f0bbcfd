#include "model/found.hpp"

#include <fmt/format.h>

#include "analyzer/check.hpp"

namespace cowvet::model {

std::string findings(const storage::Device& device, Leaks leaks, bool deep,
                     const storage::Device* data_file) {
  analyzer::Options options;
  options.jobs = 1;
  options.deep = deep;
  options.data_file = data_file;
  findings::Collector collector(16);
  base::Progress progress;
  const auto verdict = analyzer::check(device, options, collector, progress);
  if (!verdict) return "the check was stopped: " + verdict.error().message;
  std::string text;
  for (const auto& f : verdict->findings) {
    if (f.severity < findings::Severity::leak ||
        (leaks != Leaks::none && f.severity == findings::Severity::leak))
      continue;
    text += fmt::format("{} {} at {}", findings::to_string(f.severity), f.rule->name, f.where);
    if (f.host) text += fmt::format(" [{:#x} +{:#x}]", f.host->begin.raw(), f.host->length);
    text += fmt::format(" expected {}, actual {} {}\n", findings::to_string(f.expected),
                        findings::to_string(f.actual), f.detail);
  }
  return text;
}

}  // namespace cowvet::model
