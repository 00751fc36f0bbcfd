// Reports made by hand: what a check might say, without one.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "reports/report.hpp"

namespace cowvet::reports {

using namespace findings::literals;

inline analyzer::Verdict verdict_of(std::vector<findings::Finding> list, std::size_t keep = 100) {
  analyzer::Verdict verdict;
  verdict.recognised = true;
  verdict.header.emplace();
  verdict.header->v2.size = 1 << 20;
  verdict.geometry = format::Geometry::make(16, 4, false);
  verdict.statistics = {.total_clusters = 16, .allocated_clusters = 4, .image_end_offset = 589824};
  findings::Collector collector(keep);
  for (auto& finding : list) collector.add(std::move(finding));
  verdict.summary = collector.summary();
  verdict.findings = collector.take_sorted();
  return verdict;
}

inline Report report_of(std::vector<findings::Finding> list, std::string file = "disk.qcow2") {
  return {.file = std::move(file),
          .file_size = 589824,
          .header_digest = 0x0123456789abcdef,
          .deep = false,
          .outcome = verdict_of(std::move(list))};
}

inline Report failed_report() {
  return {.file = "gone.qcow2",
          .file_size = 0,
          .header_digest = 0,
          .deep = false,
          .outcome = base::fail(base::ErrorKind::not_found, "no such file: check the name")};
}

inline findings::Finding leak(std::uint64_t cluster) {
  return findings::Finding{"refcount/leak"_rule}
      .at("cluster[" + std::to_string(cluster) + "]")
      .on(base::HostOffset{cluster << 16}, 1 << 16)
      .found(findings::Value::dec(1))
      .wanted(findings::Value::dec(0));
}

inline findings::Finding lost_table(std::uint64_t index) {
  return findings::Finding{"l1/entry-past-eof"_rule}
      .at("l1[" + std::to_string(index) + "]")
      .hits({base::GuestOffset{index << 29}, 1ULL << 29, ""})
      .found(findings::Value::hex(0x8000'0001'0000'0000));
}

}  // namespace cowvet::reports
