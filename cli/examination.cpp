#include "cli/examination.hpp"

#include <array>
#include <memory>

#include "analyzer/check.hpp"
#include "analyzer/references.hpp"
#include "base/fnv.hpp"

namespace cowvet::cli {

using findings::Severity;

std::unique_ptr<storage::Device> open_data_file(const storage::Device& image, const Shared& shared) {
  const auto named = analyzer::read_references(image);
  if (!named || !named->data_file_name) return nullptr;
  auto device = open_quietly(*named->data_file_name, shared);
  return device ? std::move(*device) : nullptr;
}

reports::Report examine(const std::string& file, const Shared& shared, const Examination& how, bool in_use,
                        base::Progress& progress) {
  reports::Report report{
      .file = file,
      .file_size = 0,
      .header_digest = 0,
      .deep = how.deep,
      .taken_as_raw = shared.format == "raw",
      .outcome = base::fail(base::ErrorKind::cancelled, "stopped before this image was looked at")};
  if (progress.stop_requested()) return report;
  const auto device = open_quietly(file, shared);
  if (!device) {
    report.outcome = std::unexpected(device.error());
    return report;
  }
  std::array<std::byte, reports::digested_bytes> first{};
  const auto read = (*device)->read(0, first);
  report.file_size = (*device)->size();
  report.header_digest = base::fnv1a64(std::span(first).first(static_cast<std::size_t>(read.valid)));
  if (shared.format == "raw") {
    report.outcome =
        analyzer::Verdict{};  // nothing recognised: a raw image has nothing that could be checked
    return report;
  }
  const auto data_file = how.deep ? open_data_file(**device, shared) : nullptr;
  findings::Collector collector(how.max_findings, how.allowed);
  const analyzer::Options wishes{.deep = how.deep,
                                 .jobs = how.jobs,
                                 .memory_limit = how.memory_limit,
                                 .assume_qcow2 = shared.format == "qcow2",
                                 .in_use = in_use,
                                 .data_file = data_file.get(),
                                 .path = file,
                                 .of_the_chain = how.of_the_chain};
  report.outcome = analyzer::check(**device, wishes, collector, progress);
  // Whoever says that it is qcow2 wants to hear what is left of it, even if nothing is.
  if (report.outcome && wishes.assume_qcow2) report.outcome->recognised = true;
  return report;
}

Exit code_for(const reports::Report& report, Severity fails) {
  if (!report.outcome) return Exit::failed;
  const auto& verdict = *report.outcome;
  if (!verdict.recognised) return Exit::unsupported;
  const auto worst = verdict.summary.worst();
  if (worst && *worst >= fails && *worst >= Severity::error) return Exit::corrupt;
  if (!verdict.complete) return Exit::failed;
  return worst && *worst >= fails ? Exit::leaks : Exit::success;
}

}  // namespace cowvet::cli
