#include "reports/json.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/finding_json.hpp"

namespace cowvet::reports {

using Json = nlohmann::ordered_json;
using findings::Severity;

namespace {

constexpr std::array descending{Severity::fatal, Severity::error, Severity::leak, Severity::warning,
                                Severity::note};

Json count(const findings::Count& count) {
  return {{"findings", count.findings}, {"clusters", count.clusters}};
}

Json by_rule(std::span<const findings::Count> counts) {
  auto json = Json::object();
  for (std::size_t index = 0; index < counts.size(); ++index)
    if (counts[index].findings != 0)
      json[std::string(findings::RuleId::from_index(index)->name)] = count(counts[index]);
  return json;
}

Json summary(const analyzer::Verdict& verdict) {
  Json severities;
  std::uint64_t all = 0;
  for (const auto severity : descending) {
    severities[std::string(to_string(severity))] = count(verdict.summary.of(severity));
    all += verdict.summary.of(severity).findings;
  }
  return {{"severities", std::move(severities)},
          {"rules", by_rule(verdict.summary.by_rule)},
          {"allowed", by_rule(verdict.summary.allowed)},
          {"findings", all},
          {"listed", verdict.findings.size()}};
}

// What -r did: qemu-img's keys, and what it leaves to the user.
void add_repairs(Json& json, const Repairs& repairs) {
  if (repairs.corruptions_fixed != 0) json["corruptions-fixed"] = repairs.corruptions_fixed;
  if (repairs.leaks_fixed != 0) json["leaks-fixed"] = repairs.leaks_fixed;
  if (!repairs.undo_file.empty()) json["undo-file"] = base::escape(repairs.undo_file);
  json["withheld"] = Json::array();
  for (const auto& one : repairs.withheld)
    json["withheld"].push_back({{"rule", one.rule->name},
                                {"what", one.what},
                                {"consent", to_string(one.consent)},
                                {"count", one.count}});
}

// qemu-img check's own keys; it leaves out what is zero.
void add_qemu_keys(Json& json, const Report& report) {
  json["filename"] = report.file;
  json["format"] = "qcow2";
  json["check-errors"] = report.outcome && report.outcome->complete ? 0 : 1;
  if (!report.outcome) return;
  const auto& s = report.outcome->statistics;
  const auto& found = report.outcome->summary;
  const std::pair<const char*, std::uint64_t> counters[] = {
      {"image-end-offset", s.image_end_offset},
      {"corruptions", found.of(Severity::fatal).findings + found.of(Severity::error).findings},
      {"leaks", found.of(Severity::leak).clusters},
      {"total-clusters", s.total_clusters},
      {"allocated-clusters", s.allocated_clusters},
      {"fragmented-clusters", s.fragmented_clusters},
      {"compressed-clusters", s.compressed_clusters}};
  for (const auto& [key, number] : counters)
    if (number != 0) json[key] = number;
}

Json one(const Report& report) {
  Json json;
  add_qemu_keys(json, report);
  if (report.repairs) add_repairs(json, *report.repairs);
  json["schema"] = "cowvet.check/1";
  json["tool"] = {{"name", "cowvet"}, {"version", base::version}};
  json["image"] = {{"size", report.file_size},
                   {"header-digest", fmt::format("fnv1a64:{:016x}", report.header_digest)}};
  json["verdict"] = to_string(judge(report));
  if (!report.outcome) {
    json["error"] = base::escape(report.outcome.error().message);
    return json;
  }
  const auto& verdict = *report.outcome;
  json["deep"] = report.deep;
  json["complete"] = verdict.complete;
  if (!verdict.complete) json["incomplete"] = base::escape(verdict.incomplete);
  json["inferred"] = verdict.inferred;
  json["doubts"] = Json::array();
  for (const auto& doubt : verdict.doubts) json["doubts"].push_back(base::escape(doubt));
  json["summary"] = summary(verdict);
  json["findings"] = Json::array();
  for (const auto& one_finding : verdict.findings) json["findings"].push_back(finding_json(one_finding));
  return json;
}

}  // namespace

nlohmann::ordered_json report_json(const Report& report) { return one(report); }

std::string json(std::span<const Report> reports) {
  Json document;
  if (reports.size() == 1) {
    document = one(reports.front());
  } else {
    document = Json::array();
    for (const auto& report : reports) document.push_back(one(report));
  }
  return document.dump(4, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace cowvet::reports
